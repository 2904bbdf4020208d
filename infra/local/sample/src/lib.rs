//! The sample pipeline: a text in S3 goes through two processors in parallel, a third joins what they found, and a data target
//! writes the report back to S3. One more asks a model until its run has nothing left to spend. Each processor is one small
//! binary under `src/bin`.

pub mod converse;
pub mod s3;
pub mod task;
pub mod text;
