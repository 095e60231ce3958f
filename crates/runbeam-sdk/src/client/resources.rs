//! The calls for resources: five for each kind, all alike.

use http::Method;

use super::request::Request;
use super::{RunbeamClient, join, to_json};
use crate::error::RunbeamError;
use crate::resources::{
    Backend, Endpoint, Gateway, PaginatedResponse, Pipeline, ResourceResponse, Service, Transform,
};

/// The methods for one kind of resource: type, its name, path and the names of its methods.
macro_rules! calls {
    (
        $type:ident, $name:literal, $path:literal,
        $list:ident $get:ident $create:ident $update:ident $delete:ident
    ) => {
        impl RunbeamClient {
            #[doc = concat!("The ", $name, "s of the team.")]
            pub async fn $list(
                &self,
                token: impl AsRef<str>,
            ) -> Result<PaginatedResponse<$type>, RunbeamError> {
                self.list(concat!("list ", $name, "s"), $path, token.as_ref())
                    .await
            }

            #[doc = concat!("One ", $name, ", by its id (or code, where the cloud takes that).")]
            pub async fn $get(
                &self,
                token: impl AsRef<str>,
                id: impl AsRef<str>,
            ) -> Result<ResourceResponse<$type>, RunbeamError> {
                let request = Request::get(concat!("get ", $name), join($path, id.as_ref())?);
                self.resource(&request, token.as_ref()).await
            }

            #[doc = concat!("Makes a ", $name, ".")]
            pub async fn $create(
                &self,
                token: impl AsRef<str>,
                resource: &$type,
            ) -> Result<ResourceResponse<$type>, RunbeamError> {
                let request = Request::creating(concat!("create ", $name), $path);
                self.resource(&request.with(to_json(resource)?), token.as_ref())
                    .await
            }

            #[doc = concat!("Replaces the ", $name, " with this id.")]
            pub async fn $update(
                &self,
                token: impl AsRef<str>,
                id: impl AsRef<str>,
                resource: &$type,
            ) -> Result<ResourceResponse<$type>, RunbeamError> {
                let path = join($path, id.as_ref())?;
                let request = Request::new(concat!("update ", $name), Method::PUT, path);
                self.resource(&request.with(to_json(resource)?), token.as_ref())
                    .await
            }

            #[doc = concat!("Deletes the ", $name, " with this id.")]
            ///
            /// After an attempt whose response was lost, the next one may end with 404.
            pub async fn $delete(
                &self,
                token: impl AsRef<str>,
                id: impl AsRef<str>,
            ) -> Result<(), RunbeamError> {
                let path = join($path, id.as_ref())?;
                let request = Request::new(concat!("delete ", $name), Method::DELETE, path);
                self.call_for_status(&request, token.as_ref()).await
            }
        }
    };
}

calls! {
    Gateway, "gateway", "/gateways",
    list_gateways get_gateway create_gateway update_gateway delete_gateway
}

calls! {
    Service, "service", "/services",
    list_services get_service create_service update_service delete_service
}

calls! {
    Endpoint, "endpoint", "/endpoints",
    list_endpoints get_endpoint create_endpoint update_endpoint delete_endpoint
}

calls! {
    Backend, "backend", "/backends",
    list_backends get_backend create_backend update_backend delete_backend
}

calls! {
    Pipeline, "pipeline", "/pipelines",
    list_pipelines get_pipeline create_pipeline update_pipeline delete_pipeline
}

impl RunbeamClient {
    /// One transform: the JOLT specification is in its options.
    pub async fn get_transform(
        &self,
        token: impl AsRef<str>,
        id: impl AsRef<str>,
    ) -> Result<ResourceResponse<Transform>, RunbeamError> {
        let request = Request::get("get transform", join("/transforms", id.as_ref())?);
        self.resource(&request, token.as_ref()).await
    }
}
