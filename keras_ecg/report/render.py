"""Pages from the templates in `templates/`, with everything escaped that is not declared as markup."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def environment() -> Environment:
    """The Jinja environment of all pages."""
    found = Environment(
        loader=PackageLoader("keras_ecg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return found


def render(template: str, **content) -> str:
    """The page that a template makes of its content."""
    return environment().get_template(template).render(**content) + "\n"
