"""A PLC with an OPC UA server (asyncua), and a scan loop that does the PLC's side of docs/plc.md.

Usage: opcua_plc.py PORT PARTS TIMEOUT_MS [FOLDER]. With a folder (server.der, server.pem) it takes encrypted
connections of user "box" with password "secret" only. Asks for PARTS parts, one after the other, and prints one JSON
line for each: sequence, part, result (accept, reject, hold, or no-answer after TIMEOUT_MS) and the result's id. It then
serves, with its heartbeat, until it is killed.
"""

import asyncio
import json
import sys
import time
from typing import Any

from asyncua import Server, ua
from asyncua.crypto.permission_rules import UserRole
from asyncua.server.user_managers import User, UserManager

URI = "urn:test:plc"
PREFIX = "Inspect."
V = ua.VariantType
VARIABLES: dict[str, tuple[Any, ua.VariantType]] = {
    "Trigger": (False, V.Boolean),
    "Sequence": (0, V.UInt16),
    "PartId": ("", V.String),
    "Product": (1, V.UInt16),
    "ProductReady": (0, V.UInt16),
    "PlcBeat": (0, V.UInt32),
    "Ready": (False, V.Boolean),
    "Busy": (False, V.Boolean),
    "Fault": (False, V.Boolean),
    "BoxBeat": (False, V.Boolean),
    "ResultValid": (False, V.Boolean),
    "Result": (0, V.Int16),
    "ResultSequence": (0, V.UInt32),
    "ResultPartId": ("", V.String),
    "ResultId": ("", V.String),
    "State": (0, V.Byte),
    "Missed": (0, V.UInt16),
    "Still": (7, V.UInt16),
}
NAMES = {1: "accept", 2: "reject", 3: "hold"}


class Plc:
    """The variables, by name."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}

    async def read(self, name: str) -> Any:
        return await self.nodes[name].read_value()

    async def write(self, name: str, value: Any) -> None:
        await self.nodes[name].write_value(ua.Variant(value, VARIABLES[name][1]))

    async def ask(self, number: int, part: str, timeout_s: float) -> dict[str, object]:
        """One part: request, answer, acknowledgement."""
        deadline = time.monotonic() + timeout_s
        outcome: dict[str, object] = {"sequence": number, "part": part, "result": "no-answer", "id": ""}
        while not await self.read("Ready") or await self.read("Busy"):
            if time.monotonic() > deadline:
                return outcome
            await asyncio.sleep(0.005)
        await self.write("Sequence", number)
        await self.write("PartId", part)
        await self.write("Trigger", True)
        while time.monotonic() <= deadline:
            same = await self.read("ResultSequence") == number and await self.read("ResultPartId") == part
            if same and await self.read("ResultValid"):
                outcome |= {"result": NAMES.get(await self.read("Result"), "reject"), "id": await self.read("ResultId")}
                break
            await asyncio.sleep(0.005)
        await self.write("Trigger", False)
        while await self.read("Busy") and time.monotonic() <= deadline:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.2)
        return outcome


class OnlyTheBox(UserManager):
    """One user, one password."""

    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
        return User(role=UserRole.User) if (username, password) == ("box", "secret") else None


async def main(port: int, parts: int, timeout_ms: int, folder_of_keys: str = "") -> None:
    """Serve, ask, report."""
    server = Server(user_manager=OnlyTheBox() if folder_of_keys else None)
    await server.init()
    if folder_of_keys:
        await server.load_certificate(f"{folder_of_keys}/server.der")
        await server.load_private_key(f"{folder_of_keys}/server.pem")
        server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    index = await server.register_namespace(URI)
    plc = Plc()
    folder = await server.nodes.objects.add_folder(index, "Inspect")
    for name, (value, kind) in VARIABLES.items():
        node = await folder.add_variable(ua.NodeId(PREFIX + name, index), name, value, kind)
        await node.set_writable()
        plc.nodes[name] = node
    async with server:
        print("ready", flush=True)
        beating = asyncio.create_task(beat(plc))
        for number in range(1, parts + 1):
            print(json.dumps(await plc.ask(number, f"PCB-{number:05d}", timeout_ms / 1e3)), flush=True)
        await beating


async def beat(plc: Plc) -> None:
    """The PLC's heartbeat."""
    count = 0
    while True:
        count += 1
        await plc.write("PlcBeat", count)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main(*(int(argument) for argument in sys.argv[1:4]), *sys.argv[4:]))
