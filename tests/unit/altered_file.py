"""A copy of a file with one place of it changed."""


def edit(path, before, after):
    text = path.read_text()
    if text.count(before) != 1:
        raise AssertionError(f"{path.name} has {text.count(before)} times: {before}")
    path.write_text(text.replace(before, after))
