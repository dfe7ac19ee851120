package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"galaxy.io/runtime-manager/config"
	"galaxy.io/runtime-manager/pkg/apiserver"
)

// api is the manager's API server on a contender.
type api struct {
	job  job
	stop func()
}

// Start serves, and returns the path of the administrator's kubeconfig once
// clients find the records.
func (a *api) Start(dir string, kubeconfig *string) error {
	c, err := open(context.Background(), a.job.Contender, a.job.URL, a.job.Kine)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server, err := apiserver.New(apiserver.Options{
		Store: c, Dir: dir, Listener: listener, CRDs: config.CRDs, Version: "v0.0.0-bench", Log: logr.Discard(),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	a.stop = func() {
		cancel()
		<-ended
		c.Shut()
	}
	select {
	case <-server.Ready():
		*kubeconfig = server.Kubeconfig()
		return nil
	case err := <-ended:
		return errors.Join(errors.New("the API server ended"), err)
	}
}

// apiTarget is an API server, as clients see it.
type apiTarget struct {
	games dynamic.ResourceInterface
	raw   rest.Interface
}

// openAPITarget has no rate limit. Answers are not compressed, which on one
// machine would measure gzip.
func openAPITarget(kubeconfig string) (target, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.DisableCompression = -1, true
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return apiTarget{client.Resource(games).Namespace(namespace), typed.CoreV1().RESTClient()}, nil
}

func (t apiTarget) Create(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return t.games.Create(ctx, u, metav1.CreateOptions{})
}

// Update patches the status, as the manager does.
func (t apiTarget) Update(ctx context.Context, current *unstructured.Unstructured, status map[string]any) (*unstructured.Unstructured, error) {
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return nil, err
	}
	return t.games.Patch(ctx, current.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}, "status")
}

func (t apiTarget) Get(ctx context.Context, name string) error {
	_, err := t.games.Get(ctx, name, metav1.GetOptions{})
	return err
}

func (t apiTarget) Delete(ctx context.Context, current *unstructured.Unstructured) error {
	return t.games.Delete(ctx, current.GetName(), metav1.DeleteOptions{})
}

// List reads the answer without decoding it: the server is what is measured.
func (t apiTarget) List(ctx context.Context, resourceVersion string) (int, error) {
	path := fmt.Sprintf("/apis/%s/%s/namespaces/%s/%s", games.Group, games.Version, namespace, games.Resource)
	body, err := t.raw.Get().AbsPath(path).Param("resourceVersion", resourceVersion).
		SetHeader("Accept", "application/json").DoRaw(ctx)
	return bytes.Count(body, []byte(`"kind":"GameRuntime",`)), err
}

func (t apiTarget) Now(ctx context.Context) (string, error) {
	list, err := t.games.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return "", err
	}
	return list.GetResourceVersion(), nil
}

func (t apiTarget) Watch(ctx context.Context, resourceVersion string) (watch.Interface, error) {
	return t.games.Watch(ctx, metav1.ListOptions{ResourceVersion: resourceVersion})
}
