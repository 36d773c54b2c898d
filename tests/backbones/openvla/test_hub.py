"""Folders are taken as they are; names go to the hub, whose refusals become one plain line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

hub = pytest.importorskip("huggingface_hub")

from huggingface_hub.errors import (  # noqa: E402
    HTTPError,  # pyright: ignore[reportPrivateImportUsage] its HTTP library changes
    LocalEntryNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects  # noqa: E402

from rfsq_jax.backbones import get_backbone  # noqa: E402
from rfsq_jax.backbones.openvla.hub import resolve_checkpoint  # noqa: E402

NAME = "openvla/openvla-7b"
PUBLISHED = (
    "config.json",
    "dataset_statistics.json",
    "tokenizer.json",
    "model.safetensors.index.json",
    "model-00001-of-00003.safetensors",
    "action_head--150000_checkpoint.pt",
)
LEFT = ("modeling_prismatic.py", "README.md", "lora_adapter/adapter_model.safetensors")


def refuse(*_: Any, **__: Any) -> str:
    raise AssertionError("the hub was asked")


def test_a_folder_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "snapshot_download", refuse)
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir(parents=True)
    assert resolve_checkpoint(tmp_path) == tmp_path
    assert resolve_checkpoint(NAME) == Path(NAME)


def test_a_name_is_downloaded_without_what_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into the hub's own cache, which downloads nothing twice."""
    asked: list[tuple[str, list[str]]] = []

    def download(name: str, **options: Any) -> str:
        assert options.keys() == {"allow_patterns", "ignore_patterns"}
        asked.append((name, list(filter_repo_objects([*PUBLISHED, *LEFT], **options))))
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert resolve_checkpoint(NAME) == resolve_checkpoint(Path(NAME)) == tmp_path
    assert asked == [(NAME, list(PUBLISHED))] * 2


@pytest.mark.parametrize("error", [LocalEntryNotFoundError, HTTPError, OSError, ValueError])
def test_refusals_are_one_line(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: Any, **__: Any) -> str:
        raise error("Repository Not Found\n\nIf you are trying to ...")

    monkeypatch.setattr(hub, "snapshot_download", download)
    with pytest.raises(ValueError, match=rf"'{NAME}' is no folder, and .*Not Found\)$") as caught:
        get_backbone("openvla", path=NAME)
    assert "\n" not in str(caught.value)


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"needs huggingface_hub: pip install 'rfsq-jax\[openvla"):
        resolve_checkpoint(NAME)


@pytest.mark.parametrize("name", ["misspelt", "a/b/c", "/missing/x", "./x", "runs/misspelt"])
def test_a_misspelt_folder_is_not_looked_for_on_the_net(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "snapshot_download", refuse)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(ValueError, match="is no folder, and no owner/name"):
        resolve_checkpoint(name)
