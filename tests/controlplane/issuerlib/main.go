// Runs an issuer that is built on issuer-lib, as many external issuers of cert-manager are: a CA in memory that signs,
// and by the first label of a name fails in each of the ways that the library knows.
//
// The kinds of its issuers, TestIssuer and TestClusterIssuer, are those of the library's own tests, which are internal.
// Go lets a package import those whose import path has the same parent, hence the name of this module.
package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/cert-manager/issuer-lib/api/v1alpha1"
	"github.com/cert-manager/issuer-lib/controllers"
	"github.com/cert-manager/issuer-lib/controllers/signer"
	"github.com/cert-manager/issuer-lib/internal/testapi/api"
)

func main() {
	flags := flag.NewFlagSet("issuer-lib", flag.ExitOnError) // the global one has a kubeconfig flag of its own
	kubeconfig := flags.String("kubeconfig", "", "whom to talk to, and as whom")
	_ = flags.Parse(os.Args[1:])
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	ctrl.SetLogger(zap.New())
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	must(err)
	must(cmapi.AddToScheme(scheme.Scheme))
	must(api.AddToScheme(scheme.Scheme))
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme.Scheme,
		Metrics: server.Options{BindAddress: "0"},
	})
	must(err)
	ca, err := newAuthority()
	must(err)
	must((&controllers.CombinedController{
		IssuerTypes:                    []v1alpha1.Issuer{&api.TestIssuer{}},
		ClusterIssuerTypes:             []v1alpha1.Issuer{&api.TestClusterIssuer{}},
		FieldOwner:                     "testing.cert-manager.io",
		MaxRetryDuration:               time.Hour,
		Check:                          func(context.Context, v1alpha1.Issuer) error { return nil },
		Sign:                           ca.sign,
		EventRecorder:                  mgr.GetEventRecorder("testing.cert-manager.io"),
		SetCAOnCertificateRequest:      true,
		DisableKubernetesCSRController: true,
	}).SetupWithManager(ctx, mgr))
	must(mgr.Add(manager.RunnableFunc(func(context.Context) error {
		fmt.Println("running")
		return nil
	})))
	must(mgr.Start(ctx))
}

type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func newAuthority() (*authority, error) {
	key, err := pki.GenerateECPrivateKey(256)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "issuer-lib CA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(365 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	_, certificate, err := pki.SignCertificate(template, template, key.Public(), key)
	return &authority{certificate, key}, err
}

func (a *authority) sign(_ context.Context, cr signer.CertificateRequestObject, _ v1alpha1.Issuer) (signer.PEMBundle, error) {
	details, err := cr.GetCertificateDetails()
	if err != nil {
		return signer.PEMBundle{}, err
	}
	template, err := details.CertificateTemplate()
	if err != nil {
		return signer.PEMBundle{}, signer.PermanentError{Err: err}
	}
	for _, name := range template.DNSNames {
		switch label, _, _ := strings.Cut(name, "."); label {
		case "permanent":
			return signer.PEMBundle{}, signer.PermanentError{Err: errors.New("no such name is signed here")}
		case "pending":
			return signer.PEMBundle{}, signer.PendingError{Err: errors.New("somebody has to look at it")}
		case "issuer":
			return signer.PEMBundle{}, signer.IssuerError{Err: errors.New("the token has been revoked")}
		case "retried":
			return signer.PEMBundle{}, errors.New("try again later")
		}
	}
	bundle, err := pki.SignCSRTemplate([]*x509.Certificate{a.certificate}, a.key, template)
	return signer.PEMBundle(bundle), err
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
