//! Packets, hostile ones among them, against the real kernel-core and a machine of plain data.
