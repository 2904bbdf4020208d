//! The sample pipeline: a text in S3 goes through two processors in parallel, a third joins what they found, and a data target
//! writes the report back to S3. Each processor is one small binary under `src/bin`.

pub mod s3;
pub mod task;
pub mod text;
