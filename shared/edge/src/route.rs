//! Which route a request is for: one table, from which the functions' routes, the template's, the API's description and
//! every 404 and 405 come.

mod find;
mod operation;
mod parameter;
mod table;

pub use find::Found;
pub(crate) use find::nowhere;
pub use operation::{Access, Answer, Body, Described, Operation, described};
pub use parameter::{
    DeliveryNumber, InputNumber, ItemIndex, IterationNumber, Parameters, PathParameter, ProcessorKeyId, VersionNumber,
};
pub use table::{
    CancelRunRoute, ControlRunOpenRoute, ControlRunRoute, CreateRunRoute, FromPath, InvokeDefinitionRoute,
    ManageDefinitionsRoute, NoRoute, OPERATIONS, ROUTES, ReadRunsRoute, Route, RouteId, Routes,
};
