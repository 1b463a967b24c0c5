"""An HTML page as a browser parses it."""

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """The tags of a page with their attributes, its text, and the text of each section by its title."""

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

    def classes(self, tag: str) -> list[str]:
        """Return the class of each tag that has one."""
        return [attributes["class"] for attributes in self.all(tag) if "class" in attributes]

    def assert_loads_nothing(self, *, runs_script: bool = False) -> None:
        """Check that the page runs no script, or only its own, and that no address can be followed."""
        allowed = {"script", "form"} if runs_script else set()
        assert not ({tag for tag, _ in self.tags} & {"script", "iframe", "object", "base", "form"}) - allowed
        assert all(not attributes for attributes in (*self.all("script"),))
        assert not any("action" in attributes for attributes in self.all("form"))
        assert self.all("link") == [{"rel": "icon", "href": "data:,"}]
        for _, attributes in self.tags:
            assert not any(name.startswith("on") for name in attributes)
            assert all(
                value.startswith("data:") for name, value in attributes.items() if name in ("src", "href")
            )
        (policy,) = (meta["content"] for meta in self.all("meta") if "http-equiv" in meta)
        assert "default-src 'none'" in policy
        assert ("script-src 'sha256-" if runs_script else "script-src 'none'") in policy
