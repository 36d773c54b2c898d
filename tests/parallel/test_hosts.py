"""Only the first process of a run writes, and no two processes write under one name."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import jax
import pytest

from rfsq_jax import ActionTokenizer
from rfsq_jax.parallel import hosts
from rfsq_jax.runs.claims import claim_folder
from rfsq_jax.runs.files import atomic_path, primary_path, remove_leftovers
from rfsq_jax.runs.results import write_results
from rfsq_jax.training.metrics import open_writer


@dataclasses.dataclass(frozen=True)
class Config:
    steps: int = 3


def write_everything(folder):
    write_results(folder / "run", figures={"mse": 0.5}, config=Config())
    ActionTokenizer.from_pretrained("libero").save_pretrained(folder / "run" / "tokenizer")
    with open_writer(folder / "run", step=0) as writer:
        writer.write(1, {"loss": 1.0})
    with primary_path(folder / "run" / "plot.png") as path:
        path.write_bytes(b"")


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    write_everything(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    write_everything(tmp_path)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"results.json", "metrics.jsonl", "plot.png", "tokenizer", "tensorboard"}


def test_every_process_checks_whose_folder_it_is(tmp_path, monkeypatch):
    claim_folder(tmp_path, {"steps": 3})
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with pytest.raises(ValueError, match="steps: there 3, here 4"):
        claim_folder(tmp_path, {"steps": 4})


def test_threads_do_not_write_to_one_temporary_file(tmp_path):
    def write(number):
        with atomic_path(tmp_path / "file") as temporary:
            temporary.write_text(str(number) * 1000)
            return temporary.name

    with ThreadPoolExecutor(8) as threads:
        names = list(threads.map(write, range(32)))
    assert len(set(names)) == 32
    assert len(set((tmp_path / "file").read_text())) <= 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_process_left_is_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("os.replace", lambda *paths: None)
    monkeypatch.setattr("rfsq_jax.runs.files.remove", lambda path: None)
    for name in ("one", "other"):
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_text("half")
    monkeypatch.undo()
    remove_leftovers(tmp_path, "one")
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".other.")
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_process_waits_for_nobody():
    hosts.barrier("alone")
    assert hosts.is_primary()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coordinator": "a:1"}, "must be given together"),
        ({"coordinator": "a", "num_processes": 2, "process_id": 0}, "must be host:port, got a"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": 2}, "must be 0 to 1, got 2"),
        ({"coordinator": "a:1", "num_processes": 0, "process_id": 0}, "at least 1, got 0"),
    ],
)
def test_half_an_address_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        hosts.Distributed(**options)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, False),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, True),
        ({"SLURM_NTASKS": "4"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"TPU_WORKER_HOSTNAMES": "a"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
    ],
)
def test_schedulers_are_known_by_what_they_set(variables, expected, monkeypatch):
    for name in ("SLURM_NTASKS", "SLURM_PROCID", "OMPI_COMM_WORLD_SIZE", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hosts.Distributed().is_several is expected
    assert not hosts.Distributed(num_processes=1).is_several


def test_alone_nothing_is_joined():
    with hosts.joined(hosts.Distributed(num_processes=1), "train.ae"):
        assert not jax.distributed.is_initialized()
