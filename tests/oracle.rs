//! The stock JuiceFS as the judge of what metaferry reads and writes. Its path comes from `METAFERRY_JUICEFS`; without it
//! these tests are ignored. It mounts, so `/dev/fuse` must be there. What JuiceFS itself gets wrong is named where it shows.

mod agent;
mod buckets;
mod death;
mod fixtures;
mod formats;
mod kit;
mod live;
mod mariadb;
mod postgres;
mod synthetic;
mod volumes;
mod wide;
