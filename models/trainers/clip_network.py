"""An open_clip model as settings: found by its name, changed, built, fed, and written as a folder that loads again.

Names are those of models/clip.py: `tiny`, `local-dir:FOLDER` (or the folder itself), `hf-hub:ORG/REPO`, or an open_clip
architecture, with `:TAG` behind it where weights are meant (`ViT-B-32:openai`). No torch at the top.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.config import RequestError

if TYPE_CHECKING:
    from torch import Tensor, nn

LOCAL, HUB, CONFIG, WEIGHTS = "local-dir:", "hf-hub:", "open_clip_config.json", "open_clip_model.safetensors"


def parse(name: str) -> tuple[str, str | None]:
    """What open_clip calls a model, and the tag of its weights."""
    if name == "tiny":
        from potstill.models.tiny.clip import assemble

        return f"{LOCAL}{assemble()}", None
    if name.startswith((LOCAL, HUB)):
        return name, None
    if (Path(name) / CONFIG).is_file():
        return f"{LOCAL}{name}", None
    architecture, _, tag = name.partition(":")
    return architecture, tag or None


def check_name(name: str) -> None:
    """Raise :class:`RequestError` for a folder that is no model. Loads nothing."""
    folder = name.removeprefix(LOCAL)
    is_path = name.startswith(LOCAL) or ("/" in name and not name.startswith(HUB))
    if is_path and not (Path(folder) / CONFIG).is_file():
        raise RequestError(f"{folder} holds no {CONFIG}: give the folder that a CLIP was exported to")


@dataclass(frozen=True, eq=False)
class Blueprint:
    """What a model is built and fed by."""

    source: str
    """Its name for open_clip, or that of the model it was changed from."""
    model: Mapping[str, Any]
    """open_clip's ``model_cfg``."""
    preprocess: Mapping[str, Any]
    """open_clip's ``preprocess_cfg``, all of it."""

    @property
    def size(self) -> int:
        """Side of its pictures in pixels."""
        size = self.model["vision_cfg"].get("image_size", 224)
        if not isinstance(size, int):
            raise RequestError(f"image_size is {size}; pictures must be square")
        return size

    def build(self) -> nn.Module:
        """The model with fresh weights from torch's random state."""
        import open_clip

        config = json.loads(json.dumps(dict(self.model)))
        vision, text = config["vision_cfg"], config["text_cfg"]
        if "multimodal_cfg" in config:
            raise RequestError(f"{self.source} has a third tower that writes text; take a model of two towers")
        if "timm_model_name" in vision:
            vision["timm_model_pretrained"] = False
        if "hf_model_name" in text:
            text["hf_model_pretrained"] = False
        custom = config.pop("custom_text", False) or "hf_model_name" in text
        try:
            return (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
        except TypeError as error:
            raise RequestError(f"open_clip does not take this configuration of {self.source}: {error}") from error

    @cached_property
    def tokenizer(self) -> Any:
        """Texts to int64 (n, context length)."""
        import open_clip

        text = self.model["text_cfg"]
        named, length = text.get("hf_tokenizer_name"), text.get("context_length", 77)
        if named and named != _described(self.source)[0]["text_cfg"].get("hf_tokenizer_name"):
            return open_clip.tokenizer.HFTokenizer(named, context_length=length, **text.get("tokenizer_kwargs", {}))
        return open_clip.get_tokenizer(self.source, context_length=length)

    @cached_property
    def geometry(self) -> list[Any]:
        """Steps from a PIL picture to one of the right size, as open_clip does at inference."""
        from open_clip.transform import PreprocessCfg, image_transform_v2

        *steps, _, _ = image_transform_v2(PreprocessCfg(**dict(self.preprocess)), is_train=False).transforms
        return steps

    def write(self, folder: Path, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """A folder for ``local-dir:``. ``model`` says what a text tower of transformers is; its weights are not used.

        Such a tower names its configuration by a path, which is that of this folder: after moving the folder, put the
        new place into ``hf_model_name``.
        """
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        config = json.loads(json.dumps({"model_cfg": dict(self.model), "preprocess_cfg": dict(self.preprocess)}))
        text, tokenizer = config["model_cfg"]["text_cfg"], self.tokenizer
        if text.get("hf_model_name") and Path(text["hf_model_name"]).is_dir():
            model.text.config.save_pretrained(folder)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue, reportOptionalMemberAccess]
            text["hf_model_name"] = str(folder.resolve())
        if hasattr(tokenizer, "save_pretrained"):
            tokenizer.save_pretrained(folder)
            text["hf_tokenizer_name"] = str(folder.resolve())
        config["preprocess_cfg"].pop("size"), config["preprocess_cfg"].pop("mode")
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file({name: x.contiguous() for name, x in weights.items()}, folder / WEIGHTS, metadata={"format": "pt"})


def blueprint(name: str, changes: Mapping[str, Any] | None = None) -> Blueprint:
    """What a name stands for; ``changes`` go over its ``model_cfg``, key by key. Loads no weights.

    Raises :class:`RequestError` for a name that open_clip does not know.
    """
    return _blueprint(name, json.dumps(changes or {}, sort_keys=True))


@lru_cache(maxsize=16)
def _blueprint(name: str, changes: str) -> Blueprint:
    from dataclasses import asdict

    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    source, tag = parse(name)
    model, preprocess = _described(source, tag)
    model = _over(model, json.loads(changes))
    made = Blueprint(source, model, merge_preprocess_dict(asdict(PreprocessCfg()), preprocess))
    return Blueprint(source, model, json.loads(json.dumps({**made.preprocess, "size": made.size})))


def _described(source: str, tag: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """``model_cfg`` and ``preprocess_cfg`` as they stand in a folder, on the hub, or in open_clip."""
    import open_clip

    if source.startswith((LOCAL, HUB)):
        folder = Path(source.removeprefix(LOCAL))
        if source.startswith(HUB):
            from huggingface_hub import hf_hub_download

            folder = Path(hf_hub_download(source.removeprefix(HUB), CONFIG)).parent
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return config["model_cfg"], config.get("preprocess_cfg", {})
    model = open_clip.get_model_config(source)
    if model is None:
        close = (
            ", ".join(difflib.get_close_matches(source, open_clip.list_models(), n=3)) or "see open_clip.list_models()"
        )
        raise RequestError(f"open_clip knows no architecture {source!r} ({close}), and there is no such folder")
    return model, (open_clip.get_pretrained_cfg(source, tag) or {}) if tag else {}


def _over(base: Any, changes: Any) -> Any:
    """``base`` with ``changes`` in place of its own values, mappings key by key."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    return {**base, **{name: _over(base.get(name), value) for name, value in changes.items()}}


def load(name: str) -> tuple[nn.Module, Blueprint]:
    """A model with its weights. Raises :class:`RequestError` where it has none."""
    import open_clip

    source, tag = parse(name)
    if not tag and not source.startswith((LOCAL, HUB)):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(source)) or "none"
        raise RequestError(
            f"{name!r} is an architecture without weights; write {source}:TAG (tags: {tags}) or a folder"
        )
    try:
        model = open_clip.create_model(source, pretrained=tag, require_pretrained=True)
    except (RuntimeError, OSError, ValueError) as error:
        raise RequestError(f"cannot load {name!r}: {error}") from error
    return model, blueprint(name)
