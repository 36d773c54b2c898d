"""Who is lost is named, who says goodbye is not missed."""

import queue
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from rfsq_jax.parallel.watch import Link, Member, Watch, connect, serve

QUICK = 1.0


@pytest.fixture
def ends():
    return queue.Queue()


def watching(link, ends, timeout=60.0):
    return Watch([link], timeout, ends.put)


def pair(index=1):
    mine, theirs = socket.socketpair()
    return Link(mine, Member(index, "there", 42)), theirs


def test_a_closed_connection_is_a_lost_process(ends):
    link, theirs = pair(3)
    watching(link, ends)
    theirs.close()
    message = ends.get(timeout=60)
    assert message == "process 3 (pid 42 on there) ended before the run was over"


def test_silence_is_a_lost_process(ends):
    link, theirs = pair()
    watching(link, ends, timeout=QUICK)
    assert "process 1 (pid 42 on there) has not answered for" in ends.get(timeout=60)
    theirs.close()


def test_what_another_one_missed_is_said_here_too(ends):
    link, theirs = pair(0)
    watching(link, ends)
    theirs.sendall(b"beat\nlost process 7 (pid 1 on far) ended\n")
    assert ends.get(timeout=60) == "process 7 (pid 1 on far) ended"
    theirs.close()


def test_after_goodbyes_nobody_is_missed(ends):
    (mine, theirs), members = socket.socketpair(), (Member(1, "a", 1), Member(0, "b", 2))
    watches = [watching(Link(*each), ends) for each in zip((mine, theirs), members, strict=True)]
    with ThreadPoolExecutor() as threads:
        list(threads.map(Watch.stop, watches))
    assert ends.empty()


def test_links_say_who_is_at_the_other_end():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()[:2]
        with ThreadPoolExecutor() as threads:
            connecting = threads.submit(connect, address, 1, 60.0)
            (link,) = serve(server, 1, 60.0)
            other = connecting.result()
    assert (link.member.index, other.member.index) == (1, 0)
    assert link.member.pid == other.member.pid
    for each in (link, other):
        each.connection.close()
