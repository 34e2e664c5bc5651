//! The terminal driver as an image, over the machine's first serial port.
#![no_std]
#![no_main]

mod uart;

runtime::image!(main);

fn main() {
    service::run(|_| uart::Com1::start().map(|uart| Driver(tty::Terminal::new(uart))))
}

/// The terminal, as a service.
struct Driver(tty::Terminal<uart::Com1>);

impl service::Service for Driver {
    fn request(&mut self, message: &abi::Message) -> Option<abi::Answer> {
        abi::protocols::tty::dispatch(&mut self.0, message)
    }

    fn notification(&mut self, source: abi::Endpoint, _: abi::notification::Notification) {
        if source == abi::Endpoint::HARDWARE
            && let Some(answer) = self.0.interrupt()
        {
            service::reply(answer);
        }
    }
}
