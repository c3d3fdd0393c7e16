from pathlib import Path

from kindling import registry
from kindling.data import DATA
from kindling.models import MODELS


def list() -> None:
    """Show the networks, datasets and recipes there are."""
    print("Networks (--model)")
    for name, entry in MODELS.items():
        usual = f" Trains on {entry.default_data}." if entry.default_data else ""
        print(f"  {name:18}{registry.summary(entry, name)}{usual}")
    print("Datasets (--data)")
    for name, entry in DATA.items():
        print(f"  {name:18}{registry.summary(entry, name)}")
    recipes = sorted(Path("configs").glob("*.yaml"))
    if recipes:
        print("Recipes (fit -c FILE)")
    for file in recipes:
        print(f"  {file}: {file.read_text(encoding='utf-8').partition(chr(10))[0].lstrip('# ')}")
