"""Whether the books balance: found out from the gateway's numbers, and said in words."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[[str], Any]

LEDGER = """
    const { readLedger, unbalanced } = await load("state/records/ledger");
    const { balanceInWords, ledgerInWords } = await load("words/ledger");
    const part = (partition, read, scored, deadLettered, inFlight, fields = {}) =>
      ({partition, read, scored, deadLettered, inFlight, lag: 9, oldestUnscoredSeconds: 0.5, ...fields});
    const answer = (partitions, fields = {}) => {
      const sum = (name) => partitions.reduce((total, each) => total + each[name], 0);
      const totals = Object.fromEntries(["read", "scored", "deadLettered", "inFlight", "lag"].map((n) => [n, sum(n)]));
      return {...totals, oldestUnscoredSeconds: 0.5, ledgerReadAt: 1000, partitions, ...fields};
    };
    const missing = (...partitions) => partitions.map((p) => part(p, 100, 90, 0, 6));
    const said = (partitions, fields) => ledgerInWords(readLedger(answer(partitions, fields)), 1001);
"""


def test_books_balance_where_all_that_was_read_is_somewhere(run: Run) -> None:
    found = run(
        LEDGER
        + """
        const ledger = readLedger(answer([part(1, 10, 7, 1, 2), part(0, 0, 0, 0, 0, {oldestUnscoredSeconds: null})]));
        const inWords = [ledgerInWords(ledger, 1001), balanceInWords([])];
        return [ledger.partitions, ledger.total.read, unbalanced(ledger), ...inWords];
        """
    )
    partitions, read, wrong, said, words = found
    assert [each["partition"] for each in partitions] == [0, 1]
    assert partitions[1] == {
        "partition": 1,
        "read": 10,
        "scored": 7,
        "deadLettered": 1,
        "inFlight": 2,
        "lag": 9,
        "oldestS": 0.5,
        "difference": 0,
    }
    assert (read, partitions[0]["oldestS"], wrong, words) == (10, None, [], "Balances")
    assert said == {"mood": "balanced", "text": "Books balance", "problem": ""}


def test_what_is_missing_in_one_partition_does_not_make_up_for_what_another_has_too_much(run: Run) -> None:
    assert run(
        LEDGER
        + """
        const ledger = readLedger(answer([part(0, 10, 5, 0, 2), part(1, 5, 5, 0, 0), part(2, 10, 12, 1, 0)]));
        const { mood, text } = ledgerInWords(ledger, 1001);
        return [ledger.total.difference, mood, text, balanceInWords(unbalanced(ledger))];
        """
    ) == [
        0,
        "unbalanced",
        "Books do not balance: 3 missing in partition 0, 3 too many in partition 2",
        "3 missing, 3 too many",
    ]


@pytest.mark.parametrize(
    ("partitions", "words"),
    [
        ("3", "4 missing in partition 3"),
        ("0, 5", "8 missing in partitions 0 and 5"),
        ("0, 2, 5", "12 missing in partitions 0, 2 and 5"),
        ("0, 2, 5, 7", "16 missing in partitions 0, 2, 5 and 1 more"),
        ("...Array(96).keys()", "384 missing in partitions 0, 1, 2 and 93 more"),
    ],
)
def test_a_fault_names_its_partitions(run: Run, partitions: str, words: str) -> None:
    assert run(f"{LEDGER} return said(missing({partitions})).text") == f"Books do not balance: {words}"


def test_a_total_that_is_off_by_itself_is_said(run: Run) -> None:
    assert run(f"{LEDGER} return said([part(0, 10, 10, 0, 0)], {{read: 1015}}).text") == (
        "Books do not balance: 1,005 missing in the total"
    )


@pytest.mark.parametrize(
    "told",
    [
        "null",
        "{}",
        "{read: null, scored: null, deadLettered: null, inFlight: null, lag: null, partitions: []}",
        "{read: 5, scored: 5, deadLettered: 0, inFlight: null, partitions: []}",
        "{read: '5', scored: 5, deadLettered: 0, inFlight: 0}",
        "{read: NaN, scored: 5, deadLettered: 0, inFlight: 0}",
    ],
)
def test_without_numbers_nothing_is_claimed(run: Run, told: str) -> None:
    ledger, said = run(f"{LEDGER} const ledger = readLedger({told}); return [ledger, ledgerInWords(ledger, 1001)]")
    assert ledger is None
    assert (said["mood"], said["text"]) == ("unknown", "Books not known yet")
    assert said["problem"] == "Kafka has not told the gateway its counts yet."


def test_partitions_that_say_nothing_are_left_out(run: Run) -> None:
    assert run(
        LEDGER
        + """
        const told = answer([part(0, 5, 5, 0, 0)]);
        told.partitions.push(null, 7, {}, part(null, 5, 5, 0, 0), part(1, 5, null, 0, 0));
        return [readLedger(told).partitions.length, readLedger({...told, partitions: "x"}).partitions.length];
        """
    ) == [1, 0]


def test_books_that_were_not_looked_at_for_long_are_not_called_balanced(run: Run) -> None:
    fresh, stale, still_wrong = run(
        LEDGER
        + """
        const even = readLedger(answer([part(0, 5, 5, 0, 0)])), odd = readLedger(answer(missing(3)));
        return [ledgerInWords(even, 1015), ledgerInWords(even, 1016), ledgerInWords(odd, 1016)];
        """
    )
    assert (fresh["mood"], fresh["problem"]) == ("balanced", "")
    assert (stale["mood"], stale["text"]) == ("unknown", "Books not known at the moment")
    assert stale["problem"].startswith("Kafka has told the gateway no counts since ")
    assert (still_wrong["mood"], still_wrong["problem"]) == ("unbalanced", stale["problem"])
