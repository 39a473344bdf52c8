"""What the tests of engines with weights share: one thread, and a copy of a module's checkpoint to spoil."""

import pytest


@pytest.fixture(scope="module")
def _one_thread():
    """Threads of so small a model only wait for each other."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A checkpoint to spoil."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
