//! The memory manager's protocol.

crate::choices! {
    /// What a process tried with memory that it could not use.
    Access {
        /// Reading data.
        Read = 0,
        /// Writing data.
        Write = 1,
        /// Fetching an instruction.
        Execute = 2,
    }
}

crate::protocol! {
    /// The memory manager. Only the kernel's class admits the kernel's messages, and the kernel writes
    /// the class on delivery, so no process can forge one.
    vm = 0x0c00;

    /// From the kernel, in the name of the process: it could not use an address, and stands still
    /// until `vm_clear_page_fault`. Never answered. (MINIX `VM_PAGEFAULT`.)
    255 page_fault { address: u64, access: Access } suspends {} fails [] from KERNEL;
}
