"""Plugins are found by their entry points alone. The packages here are real ones, in a directory of their own."""

import sys
from pathlib import Path

import pytest

from infrakit_py.errors import PluginError
from infrakit_py.plugins import InstalledPlugins, PluginKind

GOOD = """
class Plugin:
    summary = "a good one"
    settings = machine = None
    def review(self, review): return ()
    def open(self, settings, context): return None

plugin = Plugin()
"""


def install(directory: Path, package: str, entry_points: str, code: str = "") -> None:
    """Put a package with entry points where Python looks for it."""
    (directory / f"{package}.py").write_text(code)
    metadata = directory / f"{package}-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_third_party_s_plugin_is_found_and_imported_when_asked_for(site: Path) -> None:
    install(site, "acme_good", "[infrakit.providers]\nacme = acme_good:plugin\n", GOOD)
    plugins = InstalledPlugins()
    assert "acme" in plugins.provider_names()
    assert "acme_good" not in sys.modules
    assert plugins.provider("acme").summary == "a good one"
    assert plugins.provider("acme") is plugins.provider("acme")


def test_an_unknown_name_is_answered_with_the_one_that_was_meant(site: Path) -> None:
    install(site, "acme_near", "[infrakit.providers]\nacme = acme_near:plugin\n", GOOD)
    with pytest.raises(PluginError, match=r"no provider plugin 'acne' is installed; did you mean 'acme'\?"):
        InstalledPlugins().provider("acne")


def test_an_unknown_name_unlike_any_is_answered_with_all(site: Path) -> None:
    with pytest.raises(PluginError, match=r"no flavor plugin 'zzz' is installed; installed are: .*vanilla"):
        InstalledPlugins().flavor("zzz")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_sdk", "No module named 'no_such_sdk'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("", "AttributeError: .*has no attribute 'plugin'"),
        ("plugin = object()", "breaks its contract: it has no summary, settings, machine, review, open"),
    ],
    ids=["missing module", "failing import", "missing object", "not a plugin"],
)
def test_a_plugin_that_cannot_be_used_says_why(
    site: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    install(site, "acme_bad", "[infrakit.providers]\nacme = acme_bad:plugin\n", code)
    monkeypatch.delitem(sys.modules, "acme_bad", raising=False)
    with pytest.raises(PluginError, match=rf"provider plugin 'acme' \(acme_bad 1\.2\) .*{reason}"):
        InstalledPlugins().provider("acme")


def test_a_name_that_two_packages_claim_is_refused(site: Path) -> None:
    install(site, "acme_one", "[infrakit.providers]\nacme = acme_one:plugin\n", GOOD)
    install(site, "acme_two", "[infrakit.providers]\nacme = acme_two:plugin\n", GOOD)
    with pytest.raises(PluginError, match="claimed by acme_one and acme_two"):
        InstalledPlugins().provider("acme")


def test_the_listing_tells_of_good_and_bad_plugins(site: Path) -> None:
    install(site, "acme_fine", "[infrakit.providers]\nfine = acme_fine:plugin\n", GOOD)
    install(site, "acme_poor", "[infrakit.flavors]\npoor = acme_poor:plugin\n", "import no_such_sdk")
    listed = {plugin.name: plugin for plugin in InstalledPlugins().listing()}
    assert (listed["fine"].kind, listed["fine"].distribution, listed["fine"].version) == (
        PluginKind.PROVIDER,
        "acme_fine",
        "1.2",
    )
    assert (listed["fine"].summary, listed["fine"].error) == ("a good one", "")
    assert "no_such_sdk" in listed["poor"].error


def test_our_own_vanilla_flavor_and_rolling_policy_are_installed() -> None:
    assert InstalledPlugins().flavor("vanilla").summary
    assert InstalledPlugins().policy("rolling")
