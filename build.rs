//! Tells the tests whether there is a stock JuiceFS to hold metaferry against, and a server of S3: without one they are
//! reported as ignored.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(oracle)");
    println!("cargo::rerun-if-env-changed=METAFERRY_JUICEFS");
    if std::env::var_os("METAFERRY_JUICEFS").is_some_and(|path| !path.is_empty()) {
        println!("cargo::rustc-cfg=oracle");
    }
    println!("cargo::rustc-check-cfg=cfg(s3)");
    println!("cargo::rerun-if-env-changed=METAFERRY_MOTO");
    if std::env::var_os("METAFERRY_MOTO").is_some_and(|path| !path.is_empty()) {
        println!("cargo::rustc-cfg=s3");
    }
}
