"""The devices of RPC servers in the page: memory, estimate, load, and a server that is lost."""

from pathlib import Path

import pytest

from tests.browser.conftest import Open
from tests.support.models_page import ModelsPage
from tests.support.rpc_servers import RpcServerProcess
from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.browser


def test_each_remote_device_has_a_tile_a_bar_and_a_line(tmp_path: Path, open_page: Open) -> None:
    with (
        RpcServerProcess() as one,
        RpcServerProcess() as two,
        ServerProcess(tmp_path, "--rpc", f"{one.address},{two.address}") as server,
    ):
        page = open_page(f"http://127.0.0.1:{server.port}/#/models").page
        dialog = ModelsPage(page).open_load(TINY)
        for name in ("RPC0", "RPC1"):
            dialog.locator(".device").filter(has_text=name).get_by_text("needs").wait_for()
        dialog.get_by_label("Layers on the GPU").wait_for()
        dialog.get_by_role("button", name="Load", exact=True).click()
        dialog.get_by_text("Loaded", exact=True).wait_for()
        for name in ("RPC0", "RPC1"):
            dialog.locator("dl.pairs > div").filter(has_text=name).first.wait_for()

        page.goto(f"http://127.0.0.1:{server.port}/#/machine")
        memory = page.get_by_role("region", name="Memory of RPC1", exact=True)
        memory.get_by_text(f"on {two.address}").wait_for()
        assert memory.locator(".figure").inner_text().endswith(" %")
        two.kill()
        memory.get_by_text("lost").wait_for()
        memory.get_by_text(f"the RPC server at {two.address} does not answer").wait_for()
        other = page.get_by_role("region", name="Memory of RPC0", exact=True)
        other.get_by_text(f"on {one.address}").wait_for()
