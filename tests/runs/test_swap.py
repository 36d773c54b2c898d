"""A folder under its name is the old one or the new one, whoever saves, looks or dies meanwhile."""

import concurrent.futures
import multiprocessing
import os
import subprocess
import sys
import threading

import pytest

from rfsq_jax.runs import swap
from rfsq_jax.runs.files import atomic_folder
from rfsq_jax.runs.swap import COMPLETE, NAMES, finish_interrupted, read_whole

OWN = ("one", "two", "inside")


@pytest.fixture(params=["exchanged", "moved in"])
def way(request, monkeypatch):
    if request.param == "moved in":
        monkeypatch.setattr(swap, "_exchange", lambda *paths: False)


def write(folder, content, names=("one", "two")):
    with atomic_folder(folder, OWN) as temporary:
        for name in names:
            (temporary / name).write_text(content)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.usefixtures("way")
def test_a_folder_replaces_a_folder(tmp_path):
    folder = tmp_path / "deep" / "folder"
    write(folder, "old")
    write(folder, "new", names=["two"])
    assert contents(folder) == {"two": "new"}
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.usefixtures("way")
def test_a_folder_inside_is_replaced_too(tmp_path):
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "folder", OWN) as temporary:
            (temporary / "inside").mkdir()
            (temporary / "inside" / content).write_text(content)
    assert contents(tmp_path / "folder" / "inside") == {"new": "new"}


def test_what_is_not_ours_stays(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"folder holds other files \(thesis\.tex\)"):
        write(folder, "new")
    assert contents(folder) == {"thesis.tex": "years of work"}
    with pytest.raises(ValueError, match="must be a folder or a new name, got a file"):
        write(folder / "thesis.tex", "new")


def test_a_file_that_comes_meanwhile_stays(tmp_path):
    folder = tmp_path / "folder"
    write(folder, "old")

    def save():
        with atomic_folder(folder, OWN) as temporary:
            (temporary / "one").write_text("new")
            (folder / "thesis.tex").write_text("years of work")

    with pytest.raises(ValueError, match="holds other files"):
        save()
    assert contents(folder) == {"one": "old", "two": "old", "thesis.tex": "years of work"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk" / "folder")
    for content in ("old", "new"):
        write(link, content)
    assert link.is_symlink()
    assert contents(tmp_path / "disk" / "folder") == {"one": "new", "two": "new"}


def test_the_current_folder_is_replaced_under_our_feet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in ("old", "new"):
        write(tmp_path.__class__("."), content)
    assert contents(tmp_path) == {"one": "new", "two": "new"}
    assert os.path.samefile(".", tmp_path)


def test_who_stands_in_a_folder_that_is_gone_can_save(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for content in ("old", "new"):
        write(tmp_path / "folder", content)
    assert contents(tmp_path / "folder") == {"one": "new", "two": "new"}


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_an_interrupted_replacement_is_finished_by_the_next_look(tmp_path, monkeypatch, moved):
    monkeypatch.setattr(swap, "_exchange", lambda *paths: False)
    write(tmp_path / "folder", "old")
    replace, done = os.replace, []

    def stop(source, target):
        if len(done) == moved:
            raise KeyboardInterrupt
        done.append(source)
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    if moved < 2:
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "folder", "new")
        assert (tmp_path / "folder" / COMPLETE).is_dir()
    else:
        write(tmp_path / "folder", "new")
    monkeypatch.setattr(os, "replace", replace)
    assert read_whole(tmp_path / "folder", contents) == {"one": "new", "two": "new"}


def test_a_damaged_folder_is_not_read_for_ever(tmp_path):
    folder = tmp_path / "folder"
    write(folder, "old")
    reads = []

    def refuse(folder):
        reads.append(folder)
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        read_whole(folder, refuse)
    assert len(reads) == 2
    with pytest.raises(FileNotFoundError):
        read_whole(tmp_path / "absent", contents)


def same_everywhere(folder):
    found = set(contents(folder).values())
    if len(found) != 1:
        raise ValueError(f"two versions at once: {found}")
    return found.pop()


@pytest.mark.usefixtures("way")
def test_threads_save_and_read_one_name(tmp_path):
    folder, stop = tmp_path / "folder", threading.Event()
    write(folder, "0")

    def look():
        while not stop.is_set():
            read_whole(folder, same_everywhere)

    with concurrent.futures.ThreadPoolExecutor(10) as threads:
        readers = [threads.submit(look) for _ in range(2)]
        for saved in [threads.submit(write, folder, str(n)) for n in range(32)]:
            saved.result()
        stop.set()
        for reader in readers:
            reader.result()
    assert list(tmp_path.iterdir()) == [folder]


def save_and_look(folder):
    for number in range(8):
        write(folder, f"{os.getpid()} {number}")
        read_whole(folder, same_everywhere)


def test_processes_save_and_read_one_name(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.map(save_and_look, [tmp_path / "folder"] * 4)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_a_full_disk_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "folder"
    write(folder, "old")
    script = """
import resource, signal, sys
from pathlib import Path
from rfsq_jax.runs.files import atomic_folder

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
with atomic_folder(Path(sys.argv[1]), ["one", "two"]) as temporary:
    (temporary / "one").write_text("x" * 100)
"""
    ended = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True)
    assert b"File too large" in ended.stderr
    assert contents(folder) == {"one": "old", "two": "old"}
    assert list(tmp_path.iterdir()) == [folder]


def test_nothing_is_finished_where_nothing_was_begun(tmp_path):
    finish_interrupted(tmp_path / "absent")
    (tmp_path / COMPLETE).mkdir()
    (tmp_path / COMPLETE / "one").write_text("not complete")
    finish_interrupted(tmp_path)
    assert (tmp_path / COMPLETE / "one").exists()


@pytest.mark.parametrize("names", ["[", "3", '[["one"], ["../thesis.tex"]]', "[[1], []]"])
def test_a_damaged_list_of_names_removes_nothing(tmp_path, names):
    (tmp_path / "thesis.tex").write_text("years of work")
    complete = tmp_path / "folder" / COMPLETE
    complete.mkdir(parents=True)
    (complete / NAMES).write_text(names)
    with pytest.raises(ValueError, match=r"\.names (is damaged|must list names of files)"):
        finish_interrupted(tmp_path / "folder")
    assert (tmp_path / "thesis.tex").exists()
