"""The two builds of the Android part, Gradle's and Maven's, must not drift apart."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

ANDROID = Path(__file__).parent.parent / "android_demo"
_POM = "{http://maven.apache.org/POM/4.0.0}"


def pom(module: str = ".") -> ElementTree.Element:
    return ElementTree.parse(ANDROID / module / "pom.xml").getroot()


def modules() -> list[str]:
    return [element.text or "" for element in pom().iter(f"{_POM}module")]


def test_both_builds_have_the_same_modules() -> None:
    settings = (ANDROID / "settings.gradle.kts").read_text()
    assert re.findall(r'":(\w+)"', settings) == modules()


def test_both_builds_take_the_same_versions() -> None:
    catalog = tomllib.loads((ANDROID / "gradle/libs.versions.toml").read_text())["versions"]
    properties = {
        element.tag.removeprefix(_POM).removesuffix(".version"): element.text
        for element in pom().find(f"{_POM}properties") or ()
        if element.tag.endswith(".version")
    }
    # The AAR that Maven compiles against is an older one: see fetch_aars.sh.
    shared = properties.keys() & catalog.keys() - {"executorch"}
    assert shared == {"kotlin", "coroutines", "serialization", "onnxruntime", "robolectric"}
    assert {name: catalog[name] for name in shared} == {name: properties[name] for name in shared}


def test_the_app_runs_what_the_exporter_makes() -> None:
    pins = (ANDROID.parent / "constraints.txt").read_text()
    exporter = re.search(r"^executorch==(\S+)", pins, re.MULTILINE)
    catalog = tomllib.loads((ANDROID / "gradle/libs.versions.toml").read_text())["versions"]
    assert exporter is not None
    assert catalog["executorch"] == exporter[1]


def test_the_engine_knows_the_executorch_it_was_built_with() -> None:
    fetched = re.search(
        r"^NPM_EXECUTORCH_RELEASE=(\S+)$",
        (ANDROID / "fetch_aars.sh").read_text(),
        re.MULTILINE,
    )
    assert fetched is not None
    assert pom().findtext(f"{_POM}properties/{_POM}executorch.version") == fetched[1]
    template = ANDROID / "executorch/src/main/templates/org/arcmobile/executorch/BuildConfig.java"
    assert 'EXECUTORCH_RELEASE = "@executorch.version@"' in template.read_text()
    gradle = (ANDROID / "executorch/build.gradle.kts").read_text()
    assert "val release = libs.versions.executorch.get()" in gradle
    assert "buildConfigField" in gradle


@pytest.mark.parametrize("module", ["executorch", "onnxruntime"])
def test_engines_are_found_by_name(module: str) -> None:
    source = ANDROID / module / "src/main"
    service = source / "resources/META-INF/services/org.arcmobile.EngineProvider"
    provider = service.read_text().strip()
    package, _, name = provider.rpartition(".")
    classes = [file.read_text() for file in source.rglob("*.kt")]
    assert any(f"package {package}" in text and f"class {name}" in text for text in classes)
    rules = (ANDROID / module / "consumer-rules.pro").read_text()
    assert f"-keep class {provider} " in rules


def test_the_guide_shows_code_that_compiles() -> None:
    sample = ANDROID / "app/src/test/kotlin/org/arcmobile/sample/MainActivity.kt"
    _, _, activity = sample.read_text().partition("import org.arcmobile.*\n\n")
    assert len(activity.splitlines()) < 30
    assert f"```kotlin\n{activity}```" in (ANDROID / "README.md").read_text()
