"""Who is lost is named, who says goodbye is not missed."""

import queue
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from rfsq_jax.parallel.watch import Link, Member, Watch, connect, serve

LONG, SHORT = 60.0, 1.0


@pytest.fixture
def ends():
    return queue.Queue()


@pytest.fixture
def sockets():
    """Two ends of a connection."""
    both = socket.socketpair()
    yield both
    for each in both:
        each.close()


def lost(ends, watch):
    message = ends.get(timeout=LONG)
    watch.wait()
    assert ends.empty()
    return message


def test_a_closed_connection_is_a_lost_process(ends, sockets):
    watch = Watch([Link(sockets[0], Member(3, "there", 42))], LONG, ends.put)
    sockets[1].close()
    expected = "process 3 (pid 42 on there) ended before the run was over"
    assert lost(ends, watch) == expected


def test_silence_is_a_lost_process(ends, sockets):
    watch = Watch([Link(sockets[0], Member(1, "there", 42))], SHORT, ends.put)
    assert lost(ends, watch).startswith("process 1 (pid 42 on there) has not answered for")


def test_what_another_one_missed_is_said_here_too(ends, sockets):
    watch = Watch([Link(sockets[0], Member(0, "there", 42))], LONG, ends.put)
    sockets[1].sendall(b"beat\nlost process 7 (pid 1 on far) ended\n")
    assert lost(ends, watch) == "process 7 (pid 1 on far) ended"


def test_after_goodbyes_nobody_is_missed(ends, sockets):
    members = Member(1, "a", 1), Member(0, "b", 2)
    links = [Link(*each) for each in zip(sockets, members, strict=True)]
    watches = [Watch([link], LONG, ends.put) for link in links]
    with ThreadPoolExecutor() as threads:
        list(threads.map(Watch.stop, watches))
    assert ends.empty()


def test_links_say_who_is_at_the_other_end():
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as threads:
        connecting = threads.submit(connect, server.getsockname()[:2], 1, LONG)
        (link,) = serve(server, 1, LONG)
        other = connecting.result()
    with link.connection, other.connection:
        assert (link.member.index, other.member.index) == (1, 0)
        assert link.member.pid == other.member.pid
