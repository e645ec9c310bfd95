//! What tests do to the parts of a cluster, and how those come back.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Cluster;
use super::node::Node;

/// A file that takes a container's memory, until this is dropped.
#[derive(Debug)]
pub struct Filled(PathBuf);

impl Drop for Filled {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

impl Cluster {
    /// Ends the API server at once, as the end of its machine would; all else goes on.
    pub fn kill_api_server(&mut self) {
        self.plane.kill_api_server();
    }

    /// Starts the API server again, and waits until nodes and names are ready.
    ///
    /// # Errors
    /// When it does not start, or they do not come back.
    pub async fn start_api_server(&mut self) -> Result<()> {
        self.plane.start_api_server().await?;
        self.wait_until_ready().await
    }

    /// Ends what the API server keeps everything in, at once; all else goes on.
    pub fn kill_etcd(&mut self) {
        self.plane.kill_etcd();
    }

    /// Starts etcd again on what it had written, and waits until nodes and names are ready.
    ///
    /// # Errors
    /// When it does not start, or they do not come back.
    pub async fn start_etcd(&mut self) -> Result<()> {
        self.plane.start_etcd().await?;
        self.wait_until_ready().await
    }

    /// Kills kubelet and containerd of a node; its containers and its network go on.
    ///
    /// # Errors
    /// When there is no such node, or they do not run.
    pub fn kill_node_programs(&mut self, node: &str) -> Result<()> {
        self.node_mut(node)?.kill_programs()
    }

    /// Starts kubelet and containerd of a node again, and waits until nodes and names are ready.
    ///
    /// # Errors
    /// When they do not start, or the node does not come back.
    pub async fn start_node_programs(&mut self, node: &str) -> Result<()> {
        let mut nodes = self.nodes.iter_mut();
        let node = nodes.find(|candidate| candidate.place.name() == node);
        let node = node.context("no such node")?;
        node.start_programs(&self.assets, &self.plane)?;
        self.wait_until_ready().await
    }

    /// Kills the process of a container, which its node then starts again in the same pod.
    ///
    /// # Errors
    /// When there is no such node, or no such container on it.
    pub fn kill_container(&self, node: &str, container: &str) -> Result<()> {
        self.node(node)?.kill_container(container)
    }

    /// Fills the memory that a container and its pod may have, as whoever runs in it could. The kernel
    /// then ends the largest process in there, and the next one too, as long as the answer is kept.
    ///
    /// # Errors
    /// When there is no such container, or the cluster's folder is not in memory.
    pub fn fill_memory(&self, node: &str, container: &str) -> Result<Filled> {
        let filled = Filled(self.folder.join("filled"));
        self.node(node)?.fill_memory(container, &filled.0)?;
        Ok(filled)
    }

    fn node(&self, name: &str) -> Result<&Node> {
        let mut nodes = self.nodes.iter();
        let node = nodes.find(|candidate| candidate.place.name() == name);
        node.context("no such node")
    }

    fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        let mut nodes = self.nodes.iter_mut();
        let node = nodes.find(|candidate| candidate.place.name() == name);
        node.context("no such node")
    }
}
