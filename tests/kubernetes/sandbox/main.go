// sandbox run NAMESPACE NAME UID | end ID: a pod's sandbox by the runtime's own interface (CRI), as a
// kubelet asks for it. `run` prints ID and addresses.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const socket = "unix:///run/containerd/containerd.sock"

func run(ctx context.Context, runtime cri.RuntimeServiceClient, namespace, name, uid string) error {
	config := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Namespace: namespace, Uid: uid},
		Hostname:     name,
		LogDirectory: "/var/log/pods/" + uid,
		Linux:        &cri.LinuxPodSandboxConfig{CgroupParent: "/pods"},
	}
	made, err := runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return err
	}
	told, err := runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: made.PodSandboxId})
	if err != nil {
		return err
	}
	network := told.Status.Network
	fmt.Print(made.PodSandboxId, " ", network.Ip)
	for _, one := range network.AdditionalIps {
		fmt.Print(" ", one.Ip)
	}
	fmt.Println()
	return nil
}

func end(ctx context.Context, runtime cri.RuntimeServiceClient, id string) error {
	if _, err := runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		return err
	}
	_, err := runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id})
	return err
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	connection, err := grpc.NewClient(socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		runtime := cri.NewRuntimeServiceClient(connection)
		switch {
		case len(os.Args) == 5 && os.Args[1] == "run":
			err = run(ctx, runtime, os.Args[2], os.Args[3], os.Args[4])
		case len(os.Args) == 3 && os.Args[1] == "end":
			err = end(ctx, runtime, os.Args[2])
		default:
			err = fmt.Errorf("usage: sandbox run NAMESPACE NAME UID | end ID")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
