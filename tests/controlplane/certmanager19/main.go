// Runs the controllers of cert-manager 1.9.1, from its library, against one API server: the version of the incident.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/metrics"
	"k8s.io/utils/clock"
)

const (
	callsPerSecond = 200
	workers        = 5
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "whom to talk to, and as whom")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	ctx = logf.NewContext(ctx, logf.Log)
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		Kubeconfig:         *kubeconfig,
		KubernetesAPIQPS:   callsPerSecond,
		KubernetesAPIBurst: 2 * callsPerSecond,
		Metrics:            metrics.New(logf.Log, clock.RealClock{}),
		Clock:              clock.RealClock{},
	})
	must(err)
	shared, err := factory.Build()
	must(err)
	var wg sync.WaitGroup
	for name, build := range controller.Known() {
		name := name
		run, err := build(factory)
		must(err)
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := run.Run(workers, ctx.Done()); err != nil {
				fmt.Fprintln(os.Stderr, name, err)
				cancel()
			}
		}()
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	fmt.Println("running", len(controller.Known()), "controllers")
	wg.Wait()
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
