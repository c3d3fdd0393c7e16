from pathlib import Path

from kindling import registry
from kindling.project import current


def list() -> None:
    """Show the networks, datasets and recipes there are."""
    print("Networks (--model)")
    for name, entry in current().models.items():
        usual = f" Trains on {entry.default_data}." if entry.default_data else ""
        print(f"  {name:18}{registry.summary(entry, name)}{usual}")
    print("Datasets (--data)")
    for name, entry in current().data.items():
        print(f"  {name:18}{registry.summary(entry, name)}")
    recipes = {file: file.read_text(encoding="utf-8") for file in sorted(Path("configs").glob("*.yaml"))}
    for command in ("fit", "sweep"):
        texts = {file: text for file, text in recipes.items() if ("\nvary:" in text) == (command == "sweep")}
        if texts:
            print(f"Recipes ({command} -c FILE)")
        for file, text in texts.items():
            print(f"  {file}: {text.partition(chr(10))[0].lstrip('# ')}")
