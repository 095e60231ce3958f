//! The calls for resources: gateways and services to be read and changed; endpoints, backends and
//! pipelines to be read.

use http::Method;

use super::request::Request;
use super::{RunbeamClient, under, written};
use crate::runbeam::error::RunbeamError;
use crate::runbeam::resources::{
    Backend, Endpoint, Gateway, Pipeline, Resource, ResourceList, Service,
};

impl RunbeamClient {
    /// The gateways of the team.
    pub async fn list_gateways(
        &self,
        token: impl AsRef<str>,
    ) -> Result<ResourceList<Gateway>, RunbeamError> {
        self.list("list gateways", "/gateways", token.as_ref())
            .await
    }

    /// One gateway, by its id or its code.
    pub async fn get_gateway(
        &self,
        token: impl AsRef<str>,
        gateway: impl AsRef<str>,
    ) -> Result<Resource<Gateway>, RunbeamError> {
        let path = under("/gateways", gateway.as_ref())?;
        self.resource(&Request::get("get gateway", path), token.as_ref())
            .await
    }

    /// Makes a gateway.
    pub async fn create_gateway(
        &self,
        token: impl AsRef<str>,
        gateway: &Gateway,
    ) -> Result<Resource<Gateway>, RunbeamError> {
        let request = Request::creating("create gateway", "/gateways").with(written(gateway)?);
        self.resource(&request, token.as_ref()).await
    }

    /// Replaces a gateway, named by its id or its code.
    pub async fn update_gateway(
        &self,
        token: impl AsRef<str>,
        id: impl AsRef<str>,
        gateway: &Gateway,
    ) -> Result<Resource<Gateway>, RunbeamError> {
        let path = under("/gateways", id.as_ref())?;
        let request = Request::new("update gateway", Method::PUT, path).with(written(gateway)?);
        self.resource(&request, token.as_ref()).await
    }

    /// Deletes a gateway. After a try whose answer was lost, the next one may end with 404.
    pub async fn delete_gateway(
        &self,
        token: impl AsRef<str>,
        id: impl AsRef<str>,
    ) -> Result<(), RunbeamError> {
        let path = under("/gateways", id.as_ref())?;
        let request = Request::new("delete gateway", Method::DELETE, path);
        self.done(&request, token.as_ref()).await
    }

    /// The services of the team.
    pub async fn list_services(
        &self,
        token: impl AsRef<str>,
    ) -> Result<ResourceList<Service>, RunbeamError> {
        self.list("list services", "/services", token.as_ref())
            .await
    }

    /// One service.
    pub async fn get_service(
        &self,
        token: impl AsRef<str>,
        service: impl AsRef<str>,
    ) -> Result<Resource<Service>, RunbeamError> {
        let path = under("/services", service.as_ref())?;
        self.resource(&Request::get("get service", path), token.as_ref())
            .await
    }

    /// Makes a service.
    pub async fn create_service(
        &self,
        token: impl AsRef<str>,
        service: &Service,
    ) -> Result<Resource<Service>, RunbeamError> {
        let request = Request::creating("create service", "/services").with(written(service)?);
        self.resource(&request, token.as_ref()).await
    }

    /// Replaces a service.
    pub async fn update_service(
        &self,
        token: impl AsRef<str>,
        id: impl AsRef<str>,
        service: &Service,
    ) -> Result<Resource<Service>, RunbeamError> {
        let path = under("/services", id.as_ref())?;
        let request = Request::new("update service", Method::PUT, path).with(written(service)?);
        self.resource(&request, token.as_ref()).await
    }

    /// Deletes a service. After a try whose answer was lost, the next one may end with 404.
    pub async fn delete_service(
        &self,
        token: impl AsRef<str>,
        id: impl AsRef<str>,
    ) -> Result<(), RunbeamError> {
        let path = under("/services", id.as_ref())?;
        let request = Request::new("delete service", Method::DELETE, path);
        self.done(&request, token.as_ref()).await
    }

    /// The endpoints of the team.
    pub async fn list_endpoints(
        &self,
        token: impl AsRef<str>,
    ) -> Result<ResourceList<Endpoint>, RunbeamError> {
        self.list("list endpoints", "/endpoints", token.as_ref())
            .await
    }

    /// The backends of the team.
    pub async fn list_backends(
        &self,
        token: impl AsRef<str>,
    ) -> Result<ResourceList<Backend>, RunbeamError> {
        self.list("list backends", "/backends", token.as_ref())
            .await
    }

    /// The pipelines of the team.
    pub async fn list_pipelines(
        &self,
        token: impl AsRef<str>,
    ) -> Result<ResourceList<Pipeline>, RunbeamError> {
        self.list("list pipelines", "/pipelines", token.as_ref())
            .await
    }
}
