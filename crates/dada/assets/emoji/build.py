"""Build the embedded data set: emoji as up to six vendors draw them.

    python -m pip install resvg-py==0.5.0 pillow==13.0.0 numpy==2.4.6 blake3==1.0.11
    python crates/dada/assets/emoji/build.py [WORK_FOLDER]

Needs Python 3.11 and npm, which brings the drawings (about 55 MB of JSON) into WORK_FOLDER, a temporary folder by default.
Writes `emoji.webp` and `classes.csv` beside this script and prints the checksums that `crates/dada/src/data/sources/emoji.rs` and `ATTRIBUTION.md`
state. With the versions above the output is the same byte for byte. Nothing here is needed to build or use the crate.

What is a class:
- a name, aliases included, that at least four of the six sets have; no skin tones, no `flag-*`;
- names that one set resolves to the same icon are one class, called after the name that most sets have (then the shortest, then
  the first in alphabetical order); for each set the first name in that order that the set has gives the drawing;
- classes that look the same in at least half of the sets that have both are one class, too;
- a drawing that a set still uses for several classes (its man biking is also its person biking) stays with the class that has
  the fewest drawings, and is left out of the others, so that no picture has two right answers;
- what noto kept unchanged from its first version counts once, as noto;
- what then has fewer than three drawings is left out (at these versions: nothing).

How classes are split: in the order of the SHA-256 of their names, the first half train, the next sixth validate, the rest test.
"""

import csv
import hashlib
import io
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import blake3
import numpy as np
import resvg_py
from PIL import Image

# The order is that of the columns in both files.
PACKAGES = {
    "noto": "1.2.9",
    "noto-v1": "1.2.5",
    "twemoji": "1.2.5",
    "fluent-emoji-flat": "1.2.6",
    "emojione": "1.2.3",
    "fxemoji": "1.2.2",
}
ENOUGH_SETS = 4
ENOUGH_DRAWINGS = 3
TILE = 48
# Classes per row of the atlas, which makes it nearly square: WebP allows 16383 pixels a side.
CLASSES_PER_ROW = 14
QUALITY = 90


def fetch(work):
    """The six icon sets, by name."""
    (work / "package.json").write_text("{}")
    packages = [f"@iconify-json/{name}@{version}" for name, version in PACKAGES.items()]
    subprocess.run(["npm", "install", "--no-save", "--ignore-scripts", *packages], cwd=work, check=True)
    return {name: json.loads((work / "node_modules/@iconify-json" / name / "icons.json").read_text()) for name in PACKAGES}


def names_of(icons):
    return icons["icons"].keys() | icons.get("aliases", {}).keys()


def resolve(icons, name):
    """The icon behind a name, and whether it is mirrored: the only transformation that these versions use."""
    mirrored = False
    while name not in icons["icons"]:
        alias = icons["aliases"][name]
        assert alias.keys() <= {"parent", "hFlip"}, alias
        mirrored ^= alias.get("hFlip", False)
        name = alias["parent"]
    return name, mirrored


def render(icons, icon, mirrored):
    """RGB pixels on white; the drawing keeps its proportions and is centred."""
    drawing = icons["icons"][icon]
    left, top = drawing.get("left", 0), drawing.get("top", 0)
    width, height = (drawing.get(side, icons.get(side, 16)) for side in ("width", "height"))
    body = drawing["body"]
    assert "<text" not in body and "<image" not in body, icon
    if mirrored:
        body = f'<g transform="translate({2 * left + width} 0) scale(-1 1)">{body}</g>'
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{TILE}" height="{TILE}" viewBox="{left} {top} {width} {height}">{body}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff", skip_system_fonts=True)
    picture = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB"))
    assert picture.shape == (TILE, TILE, 3), (icon, picture.shape)
    return picture


def united(items, pairs):
    """The connected components of a graph."""
    parent = {item: item for item in items}

    def root(item):
        while parent[item] != item:
            item = parent[item]
        return item

    for one, other in pairs:
        parent[root(one)] = root(other)
    groups = defaultdict(list)
    for item in items:
        groups[root(item)].append(item)
    return list(groups.values())


def same_drawing(drawings):
    """What one set draws alike: [(classes, set)], from {(class, set): pixels}."""
    alike = defaultdict(list)
    for (name, vendor), picture in drawings.items():
        alike[vendor, picture.tobytes()].append(name)
    return [(names, vendor) for (vendor, _), names in alike.items() if len(names) > 1]


def draw(groups, sets, rank):
    """{(class, set): pixels} for groups of names, each called after its first."""
    drawings = {}
    for names in groups:
        names.sort(key=rank)
        for vendor, icons in sets.items():
            name = next((name for name in names if name in names_of(icons)), None)
            if name is not None:
                drawings[names[0], vendor] = render(icons, *resolve(icons, name))
    return drawings


def choose(sets):
    """{class: {set: pixels}}, in alphabetical order."""
    having = defaultdict(set)
    for vendor, icons in sets.items():
        for name in names_of(icons):
            if not name.startswith("flag-") and "skin-tone" not in name:
                having[name].add(vendor)
    shared = sorted(name for name, vendors in having.items() if len(vendors) >= ENOUGH_SETS)

    def rank(name):
        return -len(having[name]), len(name), name

    pairs = []
    for vendor, icons in sets.items():
        icon_names = defaultdict(list)
        for name in shared:
            if vendor in having[name]:
                icon_names[resolve(icons, name)].append(name)
        pairs += [(names[0], name) for names in icon_names.values() for name in names[1:]]
    groups = united(shared, pairs)
    print(f"{len(shared)} names in at least {ENOUGH_SETS} sets: {len(groups)} icons")

    drawings = draw(groups, sets, rank)
    print(f"{len(drawings)} drawings")
    vendors_of = defaultdict(set)
    for name, vendor in drawings:
        vendors_of[name].add(vendor)
    by_name = {names[0]: names for names in groups}
    alike = Counter(pair for names, _ in same_drawing(drawings) for pair in combinations(sorted(names), 2))
    twins = [pair for pair, sets_alike in alike.items() if 2 * sets_alike >= len(vendors_of[pair[0]] & vendors_of[pair[1]])]
    groups = [[name for first in firsts for name in by_name[first]] for firsts in united(sorted(by_name), twins)]
    print(f"{len(groups)} classes after merging twins: {twins}")

    drawings = draw(groups, sets, rank)
    count = Counter(name for name, _ in drawings)
    ambiguous = set()
    for names, vendor in same_drawing(drawings):
        keeper = min(names, key=lambda name: (count[name], name))
        ambiguous |= {(name, vendor) for name in names if name != keeper}
    print(f"{len(ambiguous)} drawings that belong to another class left out: {sorted(ambiguous)}")
    classes = defaultdict(dict)
    for (name, vendor), picture in sorted(drawings.items()):
        if (name, vendor) not in ambiguous:
            classes[name][vendor] = picture
    copies = [
        name
        for name, pictures in classes.items()
        if {"noto", "noto-v1"} <= pictures.keys() and np.abs(pictures["noto"] - pictures["noto-v1"].astype(int)).mean() < 1
    ]
    print(f"{len(copies)} copies of noto in noto-v1 left out: {copies}")
    for name in copies:
        del classes[name]["noto-v1"]
    few = sorted(name for name, pictures in classes.items() if len(pictures) < ENOUGH_DRAWINGS)
    print(f"{len(few)} classes with too few drawings left out: {few}")
    return {name: pictures for name, pictures in classes.items() if name not in few}


def split(names):
    """{class: split}"""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    train, validation = len(order) // 2, len(order) // 6
    parts = ["train"] * train + ["validation"] * validation + ["test"] * (len(order) - train - validation)
    return dict(zip(order, parts, strict=True))


def main():
    folder = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary)
        sets = fetch(work)
    classes = choose(sets)
    splits = split(classes)

    rows = -(-len(classes) // CLASSES_PER_ROW)
    atlas = np.full((rows * TILE, CLASSES_PER_ROW * len(PACKAGES) * TILE, 3), 255, np.uint8)
    for index, pictures in enumerate(classes.values()):
        row, block = divmod(index, CLASSES_PER_ROW)
        for column, vendor in enumerate(PACKAGES):
            if vendor in pictures:
                x = (block * len(PACKAGES) + column) * TILE
                atlas[row * TILE : (row + 1) * TILE, x : x + TILE] = pictures[vendor]
    Image.fromarray(atlas).save(folder / "emoji.webp", quality=QUALITY, method=6)

    with open(folder / "classes.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["name", "split", *PACKAGES])
        for name, pictures in classes.items():
            table.writerow([name, splits[name], *(int(vendor in pictures) for vendor in PACKAGES)])

    pictures = sum(map(len, classes.values()))
    print(f"{len(classes)} classes, {pictures} pictures, atlas {atlas.shape[1]} x {atlas.shape[0]}")
    for part in ("train", "validation", "test"):
        names = [name for name in classes if splits[name] == part]
        print(f"{part}: {len(names)} classes, {sum(len(classes[name]) for name in names)} pictures")
    for name in ("emoji.webp", "classes.csv"):
        content = (folder / name).read_bytes()
        print(f"{name}: {len(content)} bytes, blake3 {blake3.blake3(content).hexdigest()}")


if __name__ == "__main__":
    main()
