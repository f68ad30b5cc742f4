import pytest

from potstill.models.engines.settings import TransformersEngine
from tests.models.engines import random_chat


@pytest.fixture(scope="session")
def chat_folder(tmp_path_factory):
    return random_chat.save(tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="session")
def chat(chat_folder):
    return TransformersEngine(model=str(chat_folder), threads=1).build()
