"""Tessera's types as gdb shows them: `source os/gdb/tessera.py`.

`cargo xtask gdb` and `cargo xtask replay` load it. It works on a running machine, a record and a memory dump, and
takes what it knows from the kernel's debug information and from two of its statics (os/abi/src/inspect.rs): NAMES
says what numbers are called, LAYOUT where the process table is.

    print endpoint           ds(6), or 7.3 if nobody has it
    print message            ds.publish { key: "answer", value: 42, overwrite: true } from monitor(16)
    process ds               ds(6): receiving from any
    print $process.signals   fields of the process that was shown last

What a value holds may be anything. One that makes no sense is shown as gdb shows it without this file, and so is
every value by `print/r`.
"""

import re
import sys
import types

import gdb
import gdb.printing

# No table has more entries, no name more bytes. What says otherwise is damaged.
ENTRIES = 4096
NAME_BYTES = 256


class Nonsense(Exception):
    """A value that means nothing."""


# Reading values and memory


def bare(kind):
    """The name of a type without its generic arguments."""
    return re.sub(r"<.*", "", kind.strip_typedefs().name or "")


def number(value):
    """The number that a value is, or that is all it has in it."""
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_STRUCT:
        fields = kind.fields()
        if len(fields) != 1:
            raise Nonsense("it is more than a number")
        return number(value[fields[0]])
    if kind.sizeof > 8:
        # gdb makes no Python number of those.
        return int(value.format_string(format="x"), 16)
    return int(value)


def memory(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def unsigned(data):
    return int.from_bytes(data, "little")


def elements(slice):
    """What a `&[T]` holds."""
    count = int(slice["length"])
    if not 0 <= count <= ENTRIES:
        raise Nonsense("no table is as long")
    first = slice["data_ptr"]
    return [(first + index).dereference() for index in range(count)]


def text(slice):
    """What a `&str` holds."""
    size = int(slice["length"])
    if not 0 <= size <= NAME_BYTES:
        raise Nonsense("no name is as long")
    return memory(int(slice["data_ptr"]), size).decode("ascii")


def static(name):
    """A static of the kernel's."""
    symbol = gdb.lookup_static_symbol(name) or gdb.lookup_global_symbol(name)
    if symbol is None:
        raise Nonsense("there is no kernel")
    return symbol


# What the kernel says of itself


class Names:
    """What numbers are called."""

    # Those that were read last, and of which file.
    known = None

    @classmethod
    def get(cls):
        symbol = static("kernel::NAMES")
        file = symbol.symtab.objfile
        if cls.known is None or cls.known[0] is not file:
            # They are constant, so they are read from the file: the machine may not have begun.
            was_trusted = gdb.parameter("trust-readonly-sections")
            gdb.execute("set trust-readonly-sections on", to_string=True)
            try:
                cls.known = file, cls(symbol.value())
            finally:
                gdb.execute(
                    "set trust-readonly-sections " + ("on" if was_trusted else "off"), to_string=True
                )
        return cls.known[1]

    def __init__(self, names):
        def table(name):
            return [(number(pair["__0"]), text(pair["__1"])) for pair in elements(names[name])]

        self.endpoints = dict(table("endpoints"))
        self.signals = dict(table("signals"))
        self.callers, self.stops, self.access = table("callers"), table("stops"), table("access")
        self.notification = int(names["notification"])
        self.calls = {}
        for protocol in elements(names["protocols"]):
            for call in elements(protocol["calls"]):
                self.calls[int(call["number"])] = text(call["name"]), int(call["print"])

    def request(self, number):
        """The name of a call, and the type of its request: what prints it is a function of that type."""
        name, address = self.calls[number]
        block = gdb.block_for_pc(address)
        while block is not None:
            function = block.function.name if block.function else ""
            found = re.fullmatch(r"abi::protocol::print<(.*)>", function)
            if found and block.start == address:
                return name, gdb.lookup_type(found[1])
            block = block.superblock
        raise Nonsense("it is no function")


class Processes:
    """The kernel's process table, as it is in memory now."""

    MAGIC = unsigned(b"TESSERA2")
    PROCESS = "kernel_core::process::Process<kernel_x86_64::machine::Hardware>"

    def __init__(self):
        # abi::inspect::Layout, in order.
        data = memory(int(static("kernel::LAYOUT").value().address), 8 * 13)
        words = [unsigned(data[at : at + 8]) for at in range(0, len(data), 8)]
        magic, self.entries, self.count, self.size, self.entry_endpoint, self.entry_process = words[:6]
        self.endpoint, self.context, self.message = words[6], words[10], words[12]
        if magic != self.MAGIC:
            raise Nonsense("there is no process table yet")

    def get(self, slot):
        """The process of a slot; nothing if it is free."""
        if not 0 <= slot < self.count:
            return None
        entry = self.entries + slot * self.size
        process = entry + self.entry_process
        if memory(entry + self.entry_endpoint, 4) != memory(process + self.endpoint, 4):
            return None
        kind = gdb.lookup_type(self.PROCESS)
        return gdb.Value(process).cast(kind.pointer()).dereference()

    def find(self, name):
        for slot in range(min(self.count, ENTRIES)):
            process = self.get(slot)
            if process is not None and name_of(process["name"]) == name:
                return process
        return None

    def message_of(self, process):
        """What a process sends."""
        kind = gdb.lookup_type("abi::message::Message")
        address = int(process.address) + self.context + self.message
        return gdb.Value(memory(address, kind.sizeof), kind)


# Texts


def endpoint(bits):
    """Who an endpoint is: see abi::Endpoint."""
    try:
        special = Names.get().endpoints.get(bits)
    except (Nonsense, gdb.error):
        special = None
    if special is not None:
        return special
    generation, slot = bits >> 15, bits & 0x7FFF
    if generation == 0 or slot >= 0x7F00:
        return "invalid %#010x" % bits
    place = "%d" % slot if generation == 1 else "%d.%d" % (slot, generation)
    try:
        process = Processes().get(slot)
        if process is not None and number(process["endpoint"]) == bits:
            return "%s(%s)" % (name_of(process["name"]), place)
    except (Nonsense, gdb.error):
        pass
    return place


def in_slot(slot):
    """Who is in a slot."""
    try:
        process = Processes().get(slot)
        if process is not None:
            return endpoint(number(process["endpoint"]))
    except (Nonsense, gdb.error):
        pass
    return "slot %d" % slot


def name_of(value):
    """What a Name says, without quotes."""
    at, end = value["__0"], value["__0"].type.range()[1] + 1
    return name_in(bytes(int(at[index]) for index in range(end)))


def name_in(data):
    name = data.rstrip(b"\0")
    if not name or any(not 0x21 <= byte <= 0x7E for byte in name):
        raise Nonsense("it is no name")
    return name.decode("ascii")


def quoted(data):
    """Bytes as Rust's escape_ascii has them."""
    special = {9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 39: "\\'", 92: "\\\\"}
    texts = (special.get(byte) or (chr(byte) if 0x20 <= byte <= 0x7E else "\\x%02x" % byte) for byte in data)
    return '"%s"' % "".join(texts)


def bits(value, names, nothing):
    """The names of the bits that are set."""
    found = [name for bit, name in names if value & bit]
    rest = value & ~sum(bit for bit, _ in names)
    return "|".join(found + (["%#x" % rest] if rest else [])) or nothing


def variant(kind, value):
    """The name of a value of an enum that is a number."""
    for field in kind.fields():
        if field.enumval == value:
            return field.name.rsplit("::", 1)[-1]
    raise Nonsense("it is no variant")


def decode(kind, data):
    """A value as it lies in a message (abi::Wire): its text, and the bytes behind it."""
    kind = kind.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_STRUCT:
        return decode_struct(kind, data)
    if len(data) < kind.sizeof:
        raise Nonsense("it ends early")
    data, rest = data[: kind.sizeof], data[kind.sizeof :]
    if kind.code == gdb.TYPE_CODE_BOOL:
        return ["false", "true"][index_below(2, data)], rest
    if kind.code == gdb.TYPE_CODE_ENUM:
        return variant(kind, unsigned(data)), rest
    if kind.code == gdb.TYPE_CODE_INT:
        return str(int.from_bytes(data, "little", signed=kind.is_signed)), rest
    raise Nonsense("it can't be in a message")


def index_below(limit, data):
    if unsigned(data) >= limit:
        raise Nonsense("it is too large")
    return unsigned(data)


def decode_struct(kind, data):
    if bare(kind) == "abi::text::Bytes":
        room = kind.sizeof - 1
        used = index_below(room + 1, data[:1])
        if any(data[1 + used : 1 + room]):
            raise Nonsense("there is something behind the end")
        return quoted(data[1 : 1 + used]), data[1 + room :]
    fields = kind.fields()
    if fields and fields[0].name == "__0":
        # A newtype, which lies in messages as in memory.
        if len(data) < kind.sizeof:
            raise Nonsense("it ends early")
        shown = describe(gdb.Value(data[: kind.sizeof], kind))
        if shown is None:
            raise Nonsense("it is no such value")
        return shown, data[kind.sizeof :]
    name, (shown, rest) = bare(kind).rsplit("::", 1)[-1], decode_fields(kind, data)
    return "%s %s" % (name, shown), rest


def decode_fields(kind, data):
    texts = []
    for field in kind.fields():
        shown, data = decode(field.type, data)
        texts.append("%s: %s" % (field.name, shown))
    return ("{ %s }" % ", ".join(texts) if texts else "{}"), data


def hexadecimal(data):
    return "[%s]" % ", ".join("%02x" % byte for byte in data.rstrip(b"\0"))


def described(value):
    """What a message says: as abi::describe, with names."""
    names, code = Names.get(), int(value["number"])
    payload = bytes(int(value["payload"][index]) for index in range(value["payload"].type.range()[1] + 1))
    if code == names.notification:
        return "notification " + decode_fields(gdb.lookup_type("abi::notification::Notification"), payload)[0]
    if code not in names.calls:
        return "unknown call %#06x %s" % (code, hexadecimal(payload))
    name, request = names.request(code)
    is_reply, status = int(value["flags"]) & 1, int(value["status"])
    try:
        if is_reply and status < 0:
            return "%s = %s" % (name, variant(gdb.lookup_type("abi::errno::Errno"), -status))
        if not is_reply:
            return "%s %s" % (name, decode_fields(request, payload)[0])
        reply = gdb.lookup_type(re.sub("Request$", "Reply", request.name))
        return "%s = %s" % (name, decode_fields(reply, payload)[0])
    except (Nonsense, gdb.error):
        # A reply that is none is an error to the one who waits for it.
        return "%s %s %s" % (name, "= EBADMSG" if is_reply else "malformed", hexadecimal(payload))


def waits(value, process=None):
    """Whom a process waits for, by its Ipc, and what it says."""
    # The field without a name is the variant's number.
    kind = int(value[value.type.fields()[0]])
    if kind == 0:
        return "runnable"
    if kind == 1:
        state, expects = value["Sending"], "then_receives"
        peer = in_slot(number(state["to"]) - 1)
    elif kind == 2:
        state, expects = value["Receiving"], "in_sendrec"
        peer = endpoint(number(state["from"]))
    else:
        raise Nonsense("it does nothing that there is")
    if state[expects]:
        how = "sendrec to"
    elif kind == 1:
        how = "sending to"
    else:
        return "receiving from " + peer
    said = "" if process is None else ", " + described(Processes().message_of(process))
    return "%s %s%s" % (how, peer, said)


def process(value):
    who = endpoint(number(value["endpoint"]))
    try:
        return "%s: %s" % (who, doing(value))
    except Exception:
        # Not gdb's own way: gdb 13 ends when a variant within a structure is none that there is.
        return "%s: in no state that there is" % who


def doing(process):
    """What a process is doing: as abi::state::State."""
    stops = number(process["stops"])
    state = waits(process["ipc"], process)
    if not stops:
        return state
    why = bits(stops, Names.get().stops, "").replace("|", ", ")
    return why if state == "runnable" else "%s; %s" % (state, why)


def message(value):
    source = number(value["source"])
    return described(value) + (" from " + endpoint(source) if source else "")


def signal(code):
    return Names.get().signals.get(code, "signal %d" % code)


def signals(value):
    """As abi has them: no signal has a higher number than those with a name."""
    return set_of(map(signal, members(number(value), max(Names.get().signals) + 1)))


def copy_flags(code):
    return {0: "wait", 1: "try"}.get(code) or "invalid %#x" % code


def grant_id(code):
    return "%d#%d" % (code & 0xFFFFF, code >> 20)


def a_range(value):
    return "%#x+%#x" % (int(value["start"]), int(value["len"]))


def set_of(members):
    return "{%s}" % ", ".join(members)


def members(value, count):
    return [bit for bit in range(count) if value >> bit & 1]


def frame(code):
    return ["the kernel's", "a process's", "VM's"][min(code, 2)] + (
        ", mapped %d times" % (code - 2) if code > 2 else ""
    )


def errno(value):
    return variant(value.type.strip_typedefs(), int(value))


def id_set(value):
    words = [int(value["__0"][index]) for index in range(4)]
    return set_of(str(bit) for bit in members(sum(word << 64 * at for at, word in enumerate(words)), 256))


# What each type is shown by.
TEXTS = {
    "abi::endpoint::Endpoint": lambda value: endpoint(number(value)),
    "abi::errno::Errno": errno,
    "abi::text::Name": lambda value: quoted(name_of(value).encode("ascii")),
    "abi::message::Message": message,
    "abi::message::Callers": lambda value: bits(number(value), Names.get().callers, "nobody"),
    "abi::grant::GrantId": lambda value: grant_id(number(value)),
    "abi::grant::Grant": lambda value: "grant %s of %d bytes"
    % (grant_id(number(value["id"])), int(value["len"])),
    "abi::grant::GrantAccess": lambda value: bits(number(value), Names.get().access, "nothing"),
    "abi::memory::CopyFlags": lambda value: copy_flags(number(value)),
    "abi::signal::Signal": lambda value: signal(number(value)),
    "abi::signal::Signals": signals,
    "abi::state::Stops": lambda value: bits(number(value), Names.get().stops, "nothing"),
    "kernel_core::process::Slot": lambda value: in_slot(number(value) - 1),
    "kernel_core::process::Ipc": waits,
    "kernel_core::process::Process": process,
    "kernel_core::memory::UserRange": a_range,
    "kernel_core::memory::PhysicalRange": lambda value: "physical " + a_range(value),
    "kernel_core::memory::vm::UserPage": lambda value: "%#x" % number(value),
    "kernel_core::frames::State": lambda value: frame(number(value)),
    "kernel_core::privilege::IdSet": id_set,
}


def describe(value):
    """The text of a value; nothing if it has none, or makes no sense."""
    make = TEXTS.get(bare(value.type))
    if make is None or value.is_optimized_out:
        return None
    try:
        return make(value)
    # Memory that is damaged can look like anything, so all that can go wrong will: gdb's own way is left.
    except Exception:
        return None


class Shown:
    """A value with a text of ours."""

    def __init__(self, text):
        self.text = text

    def to_string(self):
        return self.text


class Printers(gdb.printing.PrettyPrinter):
    """All of them, as `info pretty-printer` lists them."""

    def __init__(self):
        self.by_type = {name: gdb.printing.SubPrettyPrinter(name) for name in TEXTS}
        super().__init__("tessera", list(self.by_type.values()))

    def __call__(self, value):
        printer = self.by_type.get(bare(value.type))
        shown = describe(value) if printer is not None and printer.enabled else None
        return None if shown is None else Shown(shown)


class Process(gdb.Command):
    """Show a process of the kernel's table, and make it $process: process NAME|SLOT.

    process ds
    print $process.signals"""

    def __init__(self):
        super().__init__("process", gdb.COMMAND_DATA)

    def invoke(self, which, from_tty):
        try:
            processes = Processes()
            found = processes.get(int(which)) if which.isdecimal() else processes.find(which.strip())
        except (Nonsense, gdb.error) as error:
            raise gdb.GdbError("the process table makes no sense: %s" % error) from None
        if found is None:
            raise gdb.GdbError("there is no such process")
        gdb.set_convenience_variable("process", found)
        print("$process = %s" % found.format_string())


def load():
    """Runs this file once more, as a module.

    gdb runs it where its users' own Python is, whose names would take the place of those here."""
    module = types.ModuleType("tessera", __doc__)
    path = load.__code__.co_filename
    with open(path, encoding="utf-8") as file:
        exec(compile(file.read(), path, "exec"), module.__dict__)
    sys.modules["tessera"] = module


if __name__ == "__main__":
    load()
else:
    gdb.printing.register_pretty_printer(None, Printers(), replace=True)
    Process()
