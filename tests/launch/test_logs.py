from pathlib import Path

from launch.logs import end_of


def test_end_of_gives_the_last_lines_below_the_logs_name(tmp_path: Path) -> None:
    log = tmp_path / "ray.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert end_of(log, lines=2) == f"The end of {tmp_path.name}/ray.log:\nline 98\nline 99"


def test_end_of_says_that_there_is_no_log(tmp_path: Path) -> None:
    assert end_of(tmp_path / "ray.log") == f"{tmp_path.name}/ray.log cannot be read: No such file or directory"


def test_end_of_reads_what_is_no_text(tmp_path: Path) -> None:
    log = tmp_path / "ray.log"
    log.write_bytes(b"\xff\xfe ended\n")
    assert end_of(log).endswith("\ufffd\ufffd ended")
