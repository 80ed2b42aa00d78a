"""`python -m reference` writes what is out of date, and nothing else."""

from reference import __main__ as reference_main
from reference.pages import PAGES


def test_pages_are_written_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference_main, "PROJECT_FOLDER", tmp_path)
    reference_main.main()
    assert capsys.readouterr().out.splitlines() == [f"wrote {path}" for path in PAGES]
    assert all((tmp_path / path).read_text("utf-8") == page() for path, page in PAGES.items())
    changed, *_ = PAGES
    (tmp_path / changed).write_text("by hand")
    reference_main.main()
    assert capsys.readouterr().out.splitlines() == [f"wrote {changed}"]
