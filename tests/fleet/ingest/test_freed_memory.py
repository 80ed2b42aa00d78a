from fleet.ingest.freed_memory import BACKLOG_RECORDS, OVER_RECORDS, FreedMemory, give_back


def test_memory_is_given_back_once_when_a_backlog_is_over() -> None:
    given: list[int] = []
    memory = FreedMemory(lambda: given.append(1))
    for lag in (0, BACKLOG_RECORDS - 1, 0):
        memory.note(lag)
    assert not given, "there was no backlog"
    for lag in (BACKLOG_RECORDS, BACKLOG_RECORDS // 2, OVER_RECORDS + 1):
        memory.note(lag)
    assert not given, "it is not over"
    for lag in (OVER_RECORDS, 0, 0):
        memory.note(lag)
    assert len(given) == 1


def test_give_back_harms_nobody() -> None:
    give_back()
