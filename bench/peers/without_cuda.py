"""Lets a torch that was installed without its CUDA libraries be imported where there is no GPU.

    python without_cuda.py

Linux's default wheel links against libraries that need gigabytes and are of no use on a CPU. Where torch cannot be
imported, this writes empty libraries of those names beside its own, with a C compiler: every function of theirs says
that there is no device. A torch that can be imported is left as it is.
"""

import collections
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile

# They come with the system.
SYSTEM = re.compile(r"^(lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|gomp)|ld-linux[\w-]*)\.so")
OF_CUDA = re.compile(r"^_{0,2}(cu|nv|nccl)")
NO_DEVICE = 100


def readelf(option: str, path: pathlib.Path) -> str:
    return subprocess.run(["readelf", "-W", option, path], capture_output=True, text=True, check=True).stdout


def symbols(libraries: list[pathlib.Path]) -> tuple[dict[str, dict[str, str]], set[str]]:
    """The undefined names of CUDA by their version (empty where they have none), each with its kind; and all that
    the libraries define themselves."""
    undefined, defined = collections.defaultdict(dict), set()
    for library in libraries:
        for line in readelf("--dyn-syms", library).splitlines():
            columns = line.split()
            if len(columns) < 8 or not columns[0].rstrip(":").isdigit():
                continue
            name, _, version = columns[7].partition("@")
            if columns[6] != "UND":
                defined.add(name)
            else:
                undefined[version.lstrip("@")][name] = columns[3]
    return undefined, defined


def source(name: str, kind: str) -> str:
    if kind == "OBJECT":
        return f"char {name}[65536];"
    if name == "__cudaRegisterFatBinary":
        return f"static void *handle[2]; void *{name}(void) {{ return handle; }}"
    if re.search(r"Get(Error|Last)?\w*(String|Name)$|LastError$", name) and not name.startswith("cudaGetLast"):
        return f'const char *{name}(void) {{ return "no CUDA device"; }}'
    return f"int {name}(void) {{ return {0 if name.startswith('__cuda') else NO_DEVICE}; }}"


def write(target: pathlib.Path, versions: dict[str, dict[str, str]]) -> None:
    """A library with those names, by their version."""
    with tempfile.TemporaryDirectory() as folder:
        code, script = pathlib.Path(folder, "empty.c"), pathlib.Path(folder, "versions")
        names = {name: kind for members in versions.values() for name, kind in members.items()}
        code.write_text("\n".join(source(*item) for item in sorted(names.items())) + "\n")
        script.write_text("".join(f"{version} {{ global: {'; '.join(sorted(members))}; }};\n"
                                  for version, members in versions.items() if version and members))
        versioned = [f"-Wl,--version-script={script}"] if script.stat().st_size else []
        subprocess.run(["cc", "-w", "-shared", "-fPIC", "-fno-builtin", *versioned, f"-Wl,-soname,{target.name}", code,
                        "-o", target], check=True)


def main() -> None:
    if subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode == 0:
        return
    folder = pathlib.Path(importlib.util.find_spec("torch").origin).parent / "lib"
    libraries = [path for path in folder.iterdir() if ".so" in path.name]
    needed = {name for path in libraries for name in re.findall(r"NEEDED.*\[(.*?)\]", readelf("-d", path))}
    missing = sorted(name for name in needed - {path.name for path in libraries} if not SYSTEM.match(name))
    undefined, defined = symbols(libraries)
    # Names without a version may lie in any library: they go into the CUDA runtime's.
    plain = {name: kind for name, kind in undefined[""].items() if name not in defined and OF_CUDA.match(name)}
    for name in missing:
        stem = name.split(".so")[0]
        own = {version: members for version, members in undefined.items() if version and
               (version == name or (stem == "libnvshmem_host" and version == "NVSHMEM"))}
        if stem == "libcudart":
            own[""] = plain
        write(folder / name, own)
    subprocess.run([sys.executable, "-c", "import torch; assert not torch.cuda.is_available()"], check=True)


if __name__ == "__main__":
    main()
