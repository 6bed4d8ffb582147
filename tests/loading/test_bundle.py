"""What is sent of cluster files: all that they refer to by relative paths, and nothing else."""

from pathlib import Path

import pytest

from infrakit_py.errors import SpecError
from infrakit_py.loading.bundle import Bundle, bundle

HEAD = "apiVersion: infrakit-py/v1alpha1\nkind: Cluster\nmetadata: {name: shop}\n"


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_yml", ".yml").replace("_txt", ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def shop(more: str) -> str:
    return HEAD + more


def packed(*paths: Path) -> Bundle:
    return bundle(paths)


def mistakes(*paths: Path) -> list[str]:
    with pytest.raises(SpecError) as caught:
        bundle(paths)
    return [str(problem) for problem in caught.value.problems]


def test_a_file_alone_is_sent_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, shop_yml=shop("groups: {}\n"), other_txt="not asked for")
    found = packed(tmp_path / "shop.yml")
    assert found.files == {"shop.yml": shop("groups: {}\n")}
    assert found.main == ("shop.yml",)
    assert found.names == {"shop.yml": str(tmp_path / "shop.yml")}


def test_a_directory_is_sent_with_what_lies_beside_it(tmp_path: Path) -> None:
    flavor = "groups: {web: {flavor: {user_data: {file: ../data/web.txt}}}}\n"
    write(tmp_path, clusters__a_yml=shop(flavor), clusters__b_yml=shop(""), data__web_txt="hello", data__no_txt="")
    found = packed(tmp_path / "clusters")
    assert set(found.files) == {"clusters/a.yml", "clusters/b.yml", "data/web.txt"}
    assert found.main == ("clusters/a.yml", "clusters/b.yml")
    assert found.files["data/web.txt"] == "hello"


def test_parts_of_plugins_take_the_text_files_along_that_they_name(tmp_path: Path) -> None:
    text = shop(
        "providers: {cloud: {plugin: aws, prices: prices.txt, region: nowhere}}\n"
        "groups: {web: {image: prices2.txt, machine: {cloud: [init.txt]},\n"
        "  flavor: {user_data: {files: {etc/x: {template_file: x.txt}}}}}}\n"
    )
    write(tmp_path, shop_yml=text, prices_txt="1", prices2_txt="2", init_txt="3", x_txt="4")
    assert set(packed(tmp_path / "shop.yml").files) == {"shop.yml", "prices.txt", "init.txt", "x.txt"}


def test_absolute_paths_variables_and_texts_are_the_server_s_to_read(tmp_path: Path) -> None:
    write(tmp_path, data_txt="x")
    text = shop(
        f"images: {{a: {{disk: {tmp_path}/data.txt}}, b: {{linuxkit: '${{env:DIR}}/os.yml'}}}}\n"
        f"groups: {{web: {{flavor: {{a: {{file: {tmp_path}/data.txt}}, b: 'a\\nb', c: {'x' * 5000}}}}}}}\n"
    )
    write(tmp_path, shop_yml=text)
    assert set(packed(tmp_path / "shop.yml").files) == {"shop.yml"}


def test_a_linuxkit_yaml_is_sent_with_the_files_that_it_reads(tmp_path: Path) -> None:
    files = "[{path: a, source: conf/a.txt}, {path: b, contents: b}, {path: c, source: /etc/c}]"
    recipe = f"kernel: {{image: k}}\nfiles: {files}\n"
    write(
        tmp_path,
        shop_yml=shop("images: {os: {linuxkit: os/web.yml, verify: key.txt}}\n"),
        os__web_yml=recipe,
        os__conf__a_txt="a",
        key_txt="PEM",
    )
    (tmp_path / "os" / "web.yml.sig").write_text("c2lnbmF0dXJl")
    assert set(packed(tmp_path / "shop.yml").files) == {
        *("shop.yml", "os/web.yml", "os/conf/a.txt", "key.txt", "os/web.yml.sig")
    }


def test_what_is_not_there_is_left_out_for_the_server_to_complain_of(tmp_path: Path) -> None:
    write(tmp_path, shop_yml=shop("images: {os: {linuxkit: gone.yml}, x: {verify: gone.pem}}\n"))
    assert set(packed(tmp_path / "shop.yml").files) == {"shop.yml"}


@pytest.mark.parametrize("key", ["kernel", "initrd", "cmdline", "disk"])
def test_files_of_images_are_not_sent(key: str, tmp_path: Path) -> None:
    write(tmp_path, shop_yml=shop(f"images:\n  os: {{{key}: image.txt}}\n"), image_txt="x")
    (mistake,) = mistakes(tmp_path / "shop.yml")
    assert mistake.startswith(f"{tmp_path}/shop.yml:5:")
    assert f"images.os.{key}: files of images are not sent: name one of the server's own" in mistake


def test_what_is_not_text_is_refused_where_it_is_named(tmp_path: Path) -> None:
    recipe = (
        "kernel: {image: k}\nfiles:\n  - {path: a, source: a.bin}\nonboot:\n  - {name: x, image: '@pkg:./mine'}\n"
    )
    write(tmp_path, shop_yml=shop("images: {os: {linuxkit: os.yml}}\n"), os_yml=recipe)
    (tmp_path / "a.bin").write_bytes(b"\xff\x00")
    binary, package = mistakes(tmp_path / "shop.yml")
    assert binary.startswith(f"{tmp_path}/os.yml:3:")
    assert "a.bin is not text, and only text is sent" in binary
    assert package.startswith(f"{tmp_path}/os.yml:5:")
    assert "a local package is not sent" in package


def test_mistakes_in_yaml_and_missing_files_are_all_reported(tmp_path: Path) -> None:
    write(tmp_path, a_yml="a: [1", b_yml=shop(""))
    found = mistakes(tmp_path / "a.yml", tmp_path / "b.yml", tmp_path / "c.yml")
    assert [mistake.partition(":")[0] for mistake in found] == [f"{tmp_path}/a.yml", f"{tmp_path}/c.yml"]


@pytest.mark.parametrize("document", ["", "- 1\n", "images: 3\n", "images: {a: 3}\ngroups: [1]\n", "7\n"])
def test_what_has_the_wrong_shape_is_sent_as_it_is(document: str, tmp_path: Path) -> None:
    write(tmp_path, shop_yml=document)
    assert packed(tmp_path / "shop.yml").files == {"shop.yml": document}


def test_paths_start_at_the_directory_that_holds_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, deep__er__shop_yml=shop("groups: {web: {flavor: {f: ../../up.txt}}}\n"), up_txt="x")
    monkeypatch.chdir(tmp_path / "deep")
    found = packed(Path("er/shop.yml"))
    assert set(found.files) == {"deep/er/shop.yml", "up.txt"}
    assert found.names == {"deep/er/shop.yml": "er/shop.yml", "up.txt": "../up.txt"}
