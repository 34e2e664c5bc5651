//! What must not compile. The expected texts are those of the toolchain that builds the system;
//! after another one, look at what `TRYBUILD=overwrite cargo test -p abi` changes.

#[test]
fn what_a_protocol_forbids_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
