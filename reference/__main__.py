"""Writes the generated pages: `python -m reference`."""

from fleet.settings import PROJECT_FOLDER
from reference.pages import PAGES


def main() -> None:
    """Write every page, and say which ones have changed."""
    for path, page in PAGES.items():
        file, text = PROJECT_FOLDER / path, page()
        if not file.exists() or file.read_text("utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
