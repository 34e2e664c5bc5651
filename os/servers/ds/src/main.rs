//! The data store as an image.
#![no_std]
#![no_main]

runtime::image!(main);

fn main() {
    service::run(|_| Ok(Server(ds::Store::default())))
}

/// The store, as a service.
struct Server(ds::Store);

impl service::Service for Server {
    fn request(&mut self, message: &abi::Message) -> Option<abi::Answer> {
        abi::protocols::ds::dispatch(&mut self.0, message)
    }
}
