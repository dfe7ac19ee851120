package apiserver

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// selfReview answers who the caller is: `kubectl auth whoami`.
type selfReview struct{}

func (selfReview) New() runtime.Object     { return &authenticationv1.SelfSubjectReview{} }
func (selfReview) Destroy()                {}
func (selfReview) NamespaceScoped() bool   { return false }
func (selfReview) GetSingularName() string { return "selfsubjectreview" }

func (selfReview) Create(ctx context.Context, obj runtime.Object, _ rest.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	review := obj.(*authenticationv1.SelfSubjectReview)
	review.Status.UserInfo = authenticationv1.UserInfo{
		Username: caller.GetName(), UID: caller.GetUID(), Groups: caller.GetGroups(),
	}
	return review, nil
}

// selfAccessReview answers whether the caller may: `kubectl auth can-i`.
type selfAccessReview struct {
	authorizer authorizer.UnconditionalAuthorizer
}

func (selfAccessReview) New() runtime.Object     { return &authorizationv1.SelfSubjectAccessReview{} }
func (selfAccessReview) Destroy()                {}
func (selfAccessReview) NamespaceScoped() bool   { return false }
func (selfAccessReview) GetSingularName() string { return "selfsubjectaccessreview" }

func (r selfAccessReview) Create(ctx context.Context, obj runtime.Object, _ rest.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	review := obj.(*authorizationv1.SelfSubjectAccessReview)
	question := authorizer.AttributesRecord{User: caller}
	switch resource, path := review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes; {
	case resource != nil && path == nil:
		question.ResourceRequest = true
		question.Verb, question.Namespace, question.Name = resource.Verb, resource.Namespace, resource.Name
		question.APIGroup, question.APIVersion = resource.Group, resource.Version
		question.Resource, question.Subresource = resource.Resource, resource.Subresource
	case path != nil && resource == nil:
		question.Verb, question.Path = path.Verb, path.Path
	default:
		return nil, apierrors.NewBadRequest("spec: exactly one of resourceAttributes and nonResourceAttributes must be set")
	}
	decision, reason, err := r.authorizer.Authorize(ctx, question)
	review.Status = authorizationv1.SubjectAccessReviewStatus{
		Allowed: decision == authorizer.DecisionAllow,
		Denied:  decision == authorizer.DecisionDeny,
		Reason:  reason,
	}
	if err != nil {
		review.Status.EvaluationError = err.Error()
	}
	return review, nil
}

// selfRulesReview answers all that the caller may: `kubectl auth can-i --list`.
type selfRulesReview struct{}

func (selfRulesReview) New() runtime.Object     { return &authorizationv1.SelfSubjectRulesReview{} }
func (selfRulesReview) Destroy()                {}
func (selfRulesReview) NamespaceScoped() bool   { return false }
func (selfRulesReview) GetSingularName() string { return "selfsubjectrulesreview" }

func (selfRulesReview) Create(ctx context.Context, obj runtime.Object, _ rest.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	review := obj.(*authorizationv1.SelfSubjectRulesReview)
	review.Status.ResourceRules, review.Status.NonResourceRules = rulesFor(caller.GetGroups())
	return review, nil
}

func callerOf(ctx context.Context) (user.Info, error) {
	caller, ok := genericapirequest.UserFrom(ctx)
	if !ok {
		return nil, apierrors.NewBadRequest("the request names no user")
	}
	return caller, nil
}
