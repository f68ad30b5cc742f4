"""Engine settings load nothing, and know which model they mean."""

import json
import shutil
import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from potstill.config import RequestError, validate
from potstill.models.engines import settings
from potstill.models.engines.settings import (
    SPEED,
    EngineSettings,
    OpenaiEngine,
    TransformersEngine,
    VllmEngine,
    folder_digest,
)


def test_importing_the_settings_loads_no_torch():
    code = "import sys, potstill.models.engines.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_identity_of_a_folder_follows_its_content_and_not_its_place(chat_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(chat_folder, copy)
    assert folder_digest(copy) == folder_digest(chat_folder)
    (copy / "notes.md").write_text("no part of the model")
    assert folder_digest(copy) == folder_digest(chat_folder)
    (copy / "config.json").write_text("{}")
    assert folder_digest(copy) != folder_digest(chat_folder)


def test_large_weights_are_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "WHOLE_FILE_BYTES", 10)
    monkeypatch.setattr(settings, "BLOCK_BYTES", 4)
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(2000))
    before = folder_digest(tmp_path)
    path.write_bytes(bytes(1999) + b"x")
    assert folder_digest(tmp_path) != before


def test_a_hub_model_is_its_name_and_revision():
    assert TransformersEngine(model="Org/Model", revision="abc").identity() == {"model": "Org/Model", "revision": "abc"}


@pytest.mark.parametrize("model", ["./nowhere", "/no/such/folder", "a/b/c"])
def test_a_missing_folder_is_named(model):
    with pytest.raises(RequestError, match=r"there is no folder .*give a local model folder or a hub name"):
        TransformersEngine(model=model).identity()


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(RequestError, match=r"holds no config\.json"):
        TransformersEngine(model=str(tmp_path)).path()


def test_equal_settings_share_one_engine(chat, chat_folder):
    assert TransformersEngine(model=str(chat_folder), threads=1).build() is chat


def test_wrong_settings_are_refused_with_a_hint():
    with pytest.raises(RequestError, match=r"(?s)device: .*max_bach: unknown key; did you mean 'max_batch'"):
        validate(TransformersEngine, {"model": "tiny", "device": "tpu", "max_bach": 3}, "engine")


def test_the_kind_tells_which_engine_is_meant():
    engines = TypeAdapter(EngineSettings)
    assert engines.validate_python({"kind": "vllm", "model": "tiny"}) == VllmEngine(model="tiny")
    with pytest.raises(ValidationError, match="'transformers', 'vllm', 'openai'"):
        engines.validate_python({"kind": "sglang", "model": "tiny"})
    with pytest.raises(ValidationError, match="did you mean 'max_num_seqs'"):
        engines.validate_python({"kind": "vllm", "model": "tiny", "max_num_seq": 3})


def test_what_only_changes_speed_is_no_part_of_the_result():
    fast = VllmEngine(model="tiny", max_num_seqs=4, kv_cache_gib=1, enforce_eager=True)
    slow = VllmEngine(model="tiny")
    assert fast.model_dump(exclude=set(SPEED)) == slow.model_dump(exclude=set(SPEED))
    for change in ({"dtype": "bfloat16"}, {"max_model_len": 64}, {"revision": "abc"}):
        assert VllmEngine(model="tiny", **change).model_dump(exclude=set(SPEED)) != slow.model_dump(exclude=set(SPEED))
    assert not {"model", "revision", "dtype", "max_model_len", "base_url", "server"} & SPEED


def adapter(folder, **config):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "peft_type": "LORA"} | config))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def test_an_adapter_is_part_of_what_the_model_says(tmp_path):
    plain, one = VllmEngine(model="tiny"), VllmEngine(model="tiny", lora=str(adapter(tmp_path / "one")))
    assert one.identity().keys() - plain.identity().keys() == {"lora"}
    before = one.identity()
    (tmp_path / "one/adapter_model.safetensors").write_bytes(b"other weights")
    assert one.identity() != before


@pytest.mark.parametrize(("rank", "room"), [(1, 1), (4, 8), (8, 8), (9, 16), (400, 512), (512, 512)])
def test_room_is_made_for_the_rank_of_an_adapter(tmp_path, rank, room):
    folder = adapter(tmp_path / "a", r=rank)
    assert VllmEngine(model="tiny", lora=str(folder)).adapter() == (folder, room)


@pytest.mark.parametrize("rank", [0, 513, None, "8"])
def test_a_rank_that_cannot_be_is_refused(tmp_path, rank):
    with pytest.raises(RequestError, match=f"rank {rank!r} is none from 1 to 512"):
        VllmEngine(model="tiny", lora=str(adapter(tmp_path / "a", r=rank))).identity()


def test_an_adapter_without_safetensors_is_refused(tmp_path):
    folder = adapter(tmp_path / "a")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(RequestError, match=r"no adapter_model\.safetensors in .*saved by peft with safetensors"):
        VllmEngine(model="tiny", lora=str(folder)).adapter()
    with pytest.raises(RequestError, match=r"no adapter_config\.json and no adapter_model\.safetensors in"):
        VllmEngine(model="tiny", lora=str(tmp_path)).adapter()


def test_engines_that_serve_each_request_by_itself_take_several_chunks():
    server = OpenaiEngine(base_url="http://127.0.0.1/v1", model="m")
    engines = (TransformersEngine(model="tiny"), VllmEngine(model="tiny"), server)
    assert [engine.chunks_in_flight for engine in engines] == [1, 4, 4]
