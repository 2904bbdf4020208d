pub mod crew;
pub mod ground;
pub mod http;
pub mod relay;
pub mod sample;
pub mod sdk;
pub mod table;
