"""What a browser finds in a page of the report."""

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """What a browser finds in a page: tags with their attributes, and the text of each section."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.titles: list[str] = []
        self.sections: dict[str, str] = {}
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)
        elif self.titles and "section" in self.open:
            self.sections[self.titles[-1]] = self.sections.get(self.titles[-1], "") + f"{data}\n"

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]
