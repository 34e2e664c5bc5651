//! Monitor: a command line that looks at the running system.
#![no_std]
#![no_main]

use abi::protocols::{ProcessState, address, ds, kernel};
use abi::{Errno, Name};
use console::{print, println};
use sys::{call, kernel_call};

runtime::image!(main);

const HELP: &str = "\
ps                 what every process does, and whom it waits for
uptime             how long the system has been up
get KEY            a number from the data store
put KEY NUMBER     a number for the data store
delete KEY         forget it
fault              end this program by a page fault, below its stack
panic              end this program by a panic
exit               end this program, and the machine with it
";

fn main() {
    println!("Tessera monitor. `help` tells what there is.");
    loop {
        print!("> ");
        let line = match console::read_line() {
            Ok(line) => line,
            Err(error) => {
                println!("cannot read the console: {error}");
                sys::exit(1)
            }
        };
        let text = core::str::from_utf8(line.as_slice()).unwrap_or("?");
        if let Err(error) = command(text.split_ascii_whitespace()) {
            println!("{error}");
        }
    }
}

fn command<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<(), Errno> {
    let (Some(name), first, second) = (words.next(), words.next(), words.next()) else { return Ok(()) };
    match (name, first, second) {
        ("help", ..) => {
            print!("{HELP}");
            Ok(())
        }
        ("ps", ..) => list_processes(),
        ("uptime", ..) => {
            let times = kernel_call(&kernel::times::Request {})?;
            println!("{} ms", times.uptime_ns / 1_000_000);
            Ok(())
        }
        ("get", Some(key), _) => {
            let reply = call(address::DS, &ds::retrieve::Request { key: name_of(key)? })?;
            println!("{} (published by {})", reply.value, reply.owner);
            Ok(())
        }
        ("put", Some(key), Some(value)) => {
            let value = value.parse().map_err(|_| Errno::EINVAL)?;
            call(address::DS, &ds::publish::Request { key: name_of(key)?, value, overwrite: true })
                .map(|_| ())
        }
        ("delete", Some(key), _) => {
            call(address::DS, &ds::delete::Request { key: name_of(key)? }).map(|_| ())
        }
        ("fault", ..) => {
            println!("{}", use_up_stack(0));
            Ok(())
        }
        ("panic", ..) => panic!("asked for at the console"),
        ("exit", ..) => sys::exit(0),
        _ => {
            println!("{name}: unknown or incomplete; `help` tells what there is");
            Ok(())
        }
    }
}

fn name_of(word: &str) -> Result<Name, Errno> {
    Name::new(word).ok_or(Errno::ENAMETOOLONG)
}

fn list_processes() -> Result<(), Errno> {
    println!("{:>5} {:<20} {:<14} {:>8} waits for", "slot", "name", "state", "ticks");
    let mut slot = 0;
    loop {
        let process = match kernel_call(&kernel::get_process::Request { slot }) {
            Ok(process) => process,
            Err(Errno::ESRCH) => return Ok(()),
            Err(error) => return Err(error),
        };
        let state = match process.state {
            ProcessState::Runnable => "runnable",
            ProcessState::Sending => "sending",
            ProcessState::Receiving => "receiving",
            ProcessState::Stopped => "stopped",
            ProcessState::SendReceiving => "sendrec",
        };
        let kernel::get_process::Reply { name, user_ticks, blocked_on, .. } = process;
        println!("{:>5} {name:<20} {state:<14} {user_ticks:>8} {blocked_on}", process.slot);
        slot = process.slot + 1;
    }
}

/// Recurses until the stack meets the page below it.
#[expect(unconditional_recursion, reason = "that is the point")]
fn use_up_stack(depth: u64) -> u64 {
    core::hint::black_box([depth; 64]).iter().sum::<u64>() + use_up_stack(core::hint::black_box(depth + 1))
}
