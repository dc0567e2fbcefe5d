"""The language of the repository: American spelling, plain phrases, and pages without dead ends.

What README and docs quote must exist: linked files and headings, paths, commands, presets, keys,
Python names. Tables hold one figure per cell.
"""

import json
import re
import runpy
import shlex
import subprocess
from pathlib import Path

import pytest
from cyclopts import CycloptsError

import hier
from hier.bench import SUITES
from hier.cli import app
from hier.config import HierConfig
from hier.pretraining.config import PretrainConfig

ROOT = Path(__file__).resolve().parent.parent
NAMES = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
TRACKED = [ROOT / name for name in NAMES.decode().split("\0") if name and (ROOT / name).is_file()]
PAGES = [file for file in TRACKED if file.suffix == ".md"]
WRITTEN = [file for file in PAGES if file.name != "coverage.md"]  # that one is generated

# British stems. "grey" is no mistake here: it is the name of one of MiniGrid's colors.
BRITISH = re.compile(
    r"colour|neighbour|behaviour|favour|honour|labour|rumour|armour|harbour|endeavour"
    r"|(normal|regular|general|real|recogn|organ|minim|maxim|initial|visual|summar|discret|token"
    r"|serial|penal|util|parameter|memor|categor|optim|standard|stabil|random|custom|synchron)"
    r"is(e|es|ed|er|ers|ing|ation|ations)$"
    r"|(ana|cata|para)lys(e|ed|ing)$"
    r"|^centre|metres?$|^(fibre|litre|theatre)"
    r"|(travel|model|label|cancel|signal|level|channel|tunnel|fuel)l(ed|ing|er)$"
    r"|^(defence|offence|licence|pretence|judgement|acknowledgement|programmes?|whilst|amongst)$"
    r"|^(towards|afterwards|learnt|spelt|artefacts?|ageing|catalogue|mould|plough|manoeuvre|sceptic"
    r"|skilful|wilful|fulfil|instalment|distils?)$"
)
# Must not change: what a built-in planner learned to read.
LITERALS = ("square metres of floor", "fulfil its mission")
# Phrases that a reader has to read twice.
UNCLEAR = re.compile(
    r"\b(told|obeyed|that ships|which ships|the same (two|three)|ha(s|ve|d) (a|its|their) say"
    r"|second thoughts|for ever|as many|earns? (its|their) place)\b",
    re.IGNORECASE,
)
DESCRIBED = [*HierConfig.key_table(), *PretrainConfig.key_table()]
KEYS = {key for key, _, _ in HierConfig.key_table()}
SECTIONS = {key.split(".")[0] for key in KEYS if "." in key}
OPEN_KEYS = (
    "planner.options",
    "controller.options",
    "subgoal.bonuses",
)  # any key below is the user's
ATTRIBUTES = {"planner.privileged", "planner.version"}  # of Python objects, quoted like keys
FOLDERS = ("envs", "perception", "planners", "controllers", "hier", "tests", "docs", "examples")
PLACEHOLDER = re.compile(r"[A-Z]{2}|\.\.\.|^x$")


def text_of(file):
    return file.read_text(encoding="utf-8")


def at(file, text, found):
    """Where a match stands, for messages."""
    return f"{file.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 1}: {found[0]!r}"


def spans(text):
    """Inline code of a page, fenced blocks left out."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def blocks(text, language):
    """Fenced code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def commands_of(text):
    """Every quoted ``hier ...`` command of a page, as words."""
    lines = [
        line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()
    ]
    lines += [span for span in spans(text) if "|" not in span]
    for line in lines:
        found = re.search(r"(?:^|-m |\s)hier (?=[a-z])(.*)", line)
        if found:
            yield shlex.split(found[1], comments=True)


def headings(file):
    """Anchors of a page, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", text_of(file), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def is_key(key):
    """Whether a dotted name is a configuration key, or lies below one that users extend."""
    return key in KEYS or any(key == name or key.startswith(name + ".") for name in OPEN_KEYS)


def test_spelling_is_american():
    wrong, spelled = [], {}
    for file in TRACKED:
        if file.suffix not in (".py", ".md", ".yaml", ".toml") or file == Path(__file__).resolve():
            continue
        text = text_of(file)
        for literal in LITERALS:
            text = text.replace(literal, "")
        text = text.lower()
        for word in set(re.findall(r"[a-z]{5,}", text)):
            if word not in spelled:
                spelled[word] = BRITISH.search(word)
            if spelled[word]:
                wrong += [
                    at(file, text, found)
                    for found in re.finditer(rf"(?<![a-z]){word}(?![a-z])", text)
                ]
    assert not wrong, "\n".join(sorted(wrong))


def test_pages_and_descriptions_are_plain():
    wrong = []
    for file in WRITTEN:
        text = text_of(file)
        wrong += [at(file, text, found) for found in UNCLEAR.finditer(text)]
    wrong += [f"{key}: {text}" for key, _, text in DESCRIBED if UNCLEAR.search(text)]
    assert not wrong, "\n".join(wrong)


def test_a_description_can_be_read_alone():
    for key, _, text in DESCRIBED:
        assert len(text.split()) > 1, f"{key} is not described"
        assert not re.match(r"(of|those|the same|its|it|likewise)\b", text), f"{key}: {text}"


def test_a_cell_holds_one_figure():
    for file in WRITTEN:
        for line in text_of(file).splitlines():
            if line.startswith("|"):
                assert not re.search(r"\d%? \(\d+%?\)", line), f"{file.name}: {line}"


def test_figures_are_those_of_the_result_files():
    """Each percentage in a table is in a file that the row links, or else its section."""
    checked = 0
    for file in WRITTEN:
        for section in re.split(r"^#+ ", text_of(file), flags=re.M):
            for row in re.findall(r"^\|.*%.*\|$", section, flags=re.M):
                shares = measured(file, row) or measured(file, section)
                for cell in re.findall(r"\| (\d[\d.]*)% (?=\|)", row) if shares else ():
                    half = 0.5 if "." not in cell else 0.05
                    near = any(abs(100 * share - float(cell)) <= half + 1e-6 for share in shares)
                    assert near, f"{file.name}: {cell}% in {row}"
                    checked += 1
    assert checked > 100


def measured(file, text):
    """Shares in the result files and model cards that a text links."""
    found = []
    for target in re.findall(r"\]\(([^)\s#]+)\)", text):
        linked = (file.parent / target).resolve()
        if linked.suffix == ".json":
            figures = json.loads(text_of(linked))["figures"].values()
            found += [value for value in figures if isinstance(value, float | int)]
        elif linked.parent.parent.name == "checkpoints":
            found += [float(share) / 100 for share in re.findall(r"([\d.]+)%", text_of(linked))]
    return found


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file):
    text = re.sub(r"^```.*?^```", "", text_of(file), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (file.parent / path).resolve() if path else file
        assert linked.exists(), f"{file.name} links {target}"
        if anchor:
            assert anchor in headings(linked), f"{file.name} links {target}"


def test_quoted_paths_exist():
    for file in WRITTEN:
        for span in spans(text_of(file)):
            path = span.rstrip("/")
            if not re.fullmatch(r"[\w.*/-]+", span) or span.split("/")[0] not in FOLDERS:
                continue
            if "/" in span and not PLACEHOLDER.search(span):
                assert list(ROOT.glob(path)), f"{file.name} quotes {span}"


def test_quoted_commands_can_be_run():
    kinds = {"train": HierConfig.preset_names(), "plan": HierConfig.preset_names(),
             "pretrain": PretrainConfig.preset_names(), "bench": list(SUITES)}  # fmt: skip
    for file in WRITTEN:
        for name, *words in commands_of(text_of(file)):
            place = f"{file.name}: hier {name} {' '.join(words)}"
            assert name in app, place
            try:
                if words:  # a command may be quoted by its name alone
                    app.parse_args([name, *words], exit_on_error=False, print_error=False)
            except CycloptsError as error:
                pytest.fail(f"{place}: {error}")
            keys = [word.partition("=")[0] for word in words if re.match(r"[a-z_.]+=", word)]
            assert name == "pretrain" or all(map(is_key, keys)), place
            first = next(iter(words), "--")
            if name in kinds and not re.search(r"^-|[A-Z/=]|\.yaml$|^\.\.\.$", first):
                assert first in kinds[name], place


def test_quoted_keys_exist_and_take_the_quoted_value():
    for file in WRITTEN:
        for span in spans(text_of(file)):
            for word in span.split():
                key, _, value = word.partition("=")
                if not re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", key) or key in ATTRIBUTES:
                    continue
                section, *rest = key.split(".")
                if section not in SECTIONS:
                    continue
                assert is_key(key), f"{file.name} quotes {word}"
                if (
                    section in ("env", "planner", "subgoal")
                    or not value
                    or PLACEHOLDER.search(value)
                ):
                    continue  # the first three are found by the commands, and import simulators
                HierConfig.from_dict(nested([section, *rest], value), source=file.name)


def nested(path, value):
    """A key's value as the nested mapping that a YAML file would give."""
    import yaml

    found = yaml.safe_load(value)
    for name in reversed(path):
        found = {name: found}
    return found


def test_quoted_python_names_exist():
    files = runpy.run_path(str(ROOT / "docs" / "module_graph.py"))["modules"]()
    for file in WRITTEN:
        text = text_of(file)
        names = [span for span in spans(text) if re.fullmatch(r"hier(\.\w+)+", span)]
        for line in re.findall(r"^from (hier[\w.]*) import (.+)$", text, flags=re.M):
            names += [f"{line[0]}.{name.strip()}" for name in line[1].split(",")]
        for name in names:
            module, _, attribute = name.rpartition(".")
            if name in files:
                continue
            assert module in files, f"{file.name} quotes {name}"
            known = hier.__all__ if module == "hier" else text_of(files[module])
            assert attribute in known, f"{file.name} quotes {name}"
