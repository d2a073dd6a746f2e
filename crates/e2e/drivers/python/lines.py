"""How a driver is spoken to: a line in, a line out."""

import sys
import threading

OUTPUT = threading.Lock()


def say(*words):
    """Writes a line."""
    with OUTPUT:
        print(*words, flush=True)


def refused(error):
    """Says that something could not be done."""
    say("refused", type(error).__name__, str(error).replace("\n", " "))


def each():
    """The lines of standard input."""
    for line in iter(sys.stdin.readline, ""):
        yield line.rstrip("\n")


def record(line):
    """A line's partition and value."""
    partition, value = line.split(" ", 1)
    return int(partition), value.encode()


def read(partition, offset, value):
    """Says that a record was read."""
    say("read", partition, offset, value.decode())


def acknowledged(partition, offset, value):
    """Says that a record was acknowledged."""
    say("ack", partition, offset, value.decode())


def assigned(partitions):
    """Says which partitions a member has."""
    say("assigned", ",".join(str(partition) for partition in sorted(partitions)))


def listed(what, names):
    """The answer that lists names, in order."""
    return f"{what} {','.join(sorted(names))}"


def offsets(pairs):
    """The answer that lists partitions and their offsets."""
    return "offsets " + ",".join(f"{partition}:{offset}" for partition, offset in sorted(pairs))


class Input:
    """Standard input, watched beside other work."""

    def __init__(self):
        self.is_over = False
        self.was_asked = False
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        for _ in each():
            self.was_asked = True
        self.is_over = True

    def asked(self):
        """Whether a line has come since the last time."""
        asked, self.was_asked = self.was_asked, False
        return asked


class Member:
    """What a member of a group tells beside the records that it reads."""

    def __init__(self):
        self._source = Input()
        self._has = set()
        self._holds = False

    def goes_on(self):
        """Whether it is not to leave yet."""
        return not self._source.is_over

    def has(self, partitions):
        """Says which partitions the member has, when they have changed."""
        now = {partition.partition for partition in partitions}
        if now != self._has:
            self._has = now
            assigned(now)

    def commits(self):
        """Whether it commits what it reads: it does until it is asked to hold."""
        if self._source.asked():
            self._holds = True
            say("held")
        return not self._holds


def polled(found):
    """Says what was read: records by their partitions."""
    for records in found.values():
        for one in records:
            read(one.partition, one.offset, one.value)


def administer(obey):
    """Obeys line after line; obey(command, words) answers or raises."""
    for line in each():
        command, *words = line.split(" ")
        try:
            answer = obey(command, words)
            say(answer if answer else "done")
        except Exception as error:  # Whatever a library raises is its answer.
            refused(error)
