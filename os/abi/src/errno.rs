//! Why a call failed.

use core::fmt;

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal;)*) => {
        /// An error number.
        ///
        /// Names and meanings are those of POSIX (XBD, `<errno.h>`); the numbers are those of
        /// Linux on x86-64, so that a statically linked program means the same by them. From 200
        /// on follow the system's own, which never reach a program through a POSIX call.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Errno { $( #[doc = $text] $(#[$doc])* $name = $number, )* }

        impl Errno {
            /// Every error, by number.
            pub const ALL: &[Self] = &[$( Self::$name ),*];

            /// The name, as POSIX spells it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }

            /// What it means, as a fragment that completes "failed: …".
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            /// Finds an error by its number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $( $number => Some(Self::$name), )* _ => None }
            }
        }
    };
}

errnos! {
    EPERM = 1 "operation not permitted";
    ENOENT = 2 "no such file or entry";
    ESRCH = 3 "no such process";
    EINTR = 4 "interrupted";
    EIO = 5 "input/output error";
    ENXIO = 6 "no such device or address";
    E2BIG = 7 "argument list too long";
    ENOEXEC = 8 "not an executable";
    EBADF = 9 "bad file descriptor";
    ECHILD = 10 "no child processes";
    EAGAIN = 11 "try again";
    ENOMEM = 12 "not enough memory";
    EACCES = 13 "permission denied";
    EFAULT = 14 "bad address";
    ENOTBLK = 15 "block device required";
    EBUSY = 16 "device or resource busy";
    EEXIST = 17 "exists already";
    EXDEV = 18 "link across devices";
    ENODEV = 19 "no such device";
    ENOTDIR = 20 "not a directory";
    EISDIR = 21 "is a directory";
    EINVAL = 22 "invalid argument";
    ENFILE = 23 "too many files open in the system";
    EMFILE = 24 "too many files open";
    ENOTTY = 25 "inappropriate I/O control operation";
    ETXTBSY = 26 "text file busy";
    EFBIG = 27 "file too large";
    ENOSPC = 28 "no space left";
    ESPIPE = 29 "cannot seek";
    EROFS = 30 "read-only file system";
    EMLINK = 31 "too many links";
    EPIPE = 32 "broken pipe";
    EDOM = 33 "argument out of the function's domain";
    ERANGE = 34 "result too large";
    EDEADLK = 35 "would deadlock";
    ENAMETOOLONG = 36 "name too long";
    ENOLCK = 37 "no locks available";
    ENOSYS = 38 "no such call";
    ENOTEMPTY = 39 "directory not empty";
    ELOOP = 40 "too many symbolic links";
    ENODATA = 61 "no data";
    ETIME = 62 "timer expired";
    EPROTO = 71 "protocol error";
    EBADMSG = 74 "bad message";
    EOVERFLOW = 75 "value too large";
    EILSEQ = 84 "illegal byte sequence";
    ENOTSOCK = 88 "not a socket";
    EDESTADDRREQ = 89 "destination address required";
    EMSGSIZE = 90 "message too long";
    EPROTOTYPE = 91 "wrong protocol type";
    ENOPROTOOPT = 92 "protocol not available";
    EPROTONOSUPPORT = 93 "protocol not supported";
    EOPNOTSUPP = 95 "not supported";
    EAFNOSUPPORT = 97 "address family not supported";
    EADDRINUSE = 98 "address in use";
    EADDRNOTAVAIL = 99 "address not available";
    ENETDOWN = 100 "network is down";
    ENETUNREACH = 101 "network unreachable";
    ECONNABORTED = 103 "connection aborted";
    ECONNRESET = 104 "connection reset";
    ENOBUFS = 105 "no buffer space";
    EISCONN = 106 "connected already";
    ENOTCONN = 107 "not connected";
    ETIMEDOUT = 110 "timed out";
    ECONNREFUSED = 111 "connection refused";
    EHOSTUNREACH = 113 "host unreachable";
    EALREADY = 114 "in progress already";
    EINPROGRESS = 115 "in progress";
    ESTALE = 116 "stale handle";
    EDQUOT = 122 "quota exceeded";
    ECANCELED = 125 "cancelled";
    EOWNERDEAD = 130 "the owner died";
    ENOTRECOVERABLE = 131 "not recoverable";

    /// Of services: start me again. Of file servers: repeat the call.
    ERESTART = 200 "to be restarted";
    ENOTREADY = 201 "the destination is not receiving";
    EDEADSRCDST = 202 "source or destination is dead";
    ELOCKED = 208 "would deadlock";
    EBADCALL = 209 "no such IPC primitive";
    ECALLDENIED = 210 "the caller's privileges deny this destination or kernel call";
    ETRAPDENIED = 211 "the caller's privileges deny this IPC primitive";
    EBADREQUEST = 212 "no such kernel call";
    EDEADEPT = 215 "dead endpoint";
    EBADEPT = 216 "malformed endpoint";
}

impl Errno {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The value that a message's status or a register carries.
    #[must_use]
    pub const fn to_status(self) -> i32 {
        -(self as i32)
    }

    /// Reads a status below zero. A number that no error has is a broken peer's: [`Errno::EBADMSG`].
    #[must_use]
    pub fn from_status(status: i32) -> Self {
        status
            .checked_neg()
            .and_then(|number| u8::try_from(number).ok())
            .and_then(Self::from_number)
            .unwrap_or(Self::EBADMSG)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.name())
    }
}

impl core::error::Error for Errno {}
