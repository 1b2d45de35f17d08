#include "quantbound/certify/difference_interval.hpp"
#include <cmath>
#include <algorithm>
#include "quantbound/core/assert.hpp"
namespace quantbound::certify {
namespace { 
std::size_t at(Index i){return static_cast<std::size_t>(i);}
Box affine(const std::vector<double>&W,const std::vector<double>&b,const Box&x){ Box o{b,b}; std::size_t n=x.low.size();
 for(std::size_t r=0;r<b.size();++r){ double c=0,e=0,m=0; for(std::size_t i=0;i<n;++i){double a=W[r*n+i]; double ce=(x.low[i]+x.high[i])/2, ra=(x.high[i]-x.low[i])/2; c+=a*ce; e+=std::abs(a)*ra; m+=std::abs(a)*(std::abs(ce)+ra);} double s=e+m*1e-12; o.low[r]+=c-s;o.high[r]+=c+s;} return o;}
PairBounds go(const Pair&p,const Box&in,bool joint){
 PairBounds B; B.nodes.resize(p.graph.nodes.size()); B.nodes[0]=shared_input(in);
 for(std::size_t i=1;i<p.graph.nodes.size();++i){ auto&n=p.graph.nodes[i]; auto&x=B[n.inputs[0]];
  if(auto*d=std::get_if<network::Dense>(&n.op)){ auto&f=p.f[at(d->layer)];auto&q=p.fq[at(d->layer)];auto&c=p.change[at(d->layer)];
   std::vector<double> z(f.bias.size(),0.0);
   PairBox o{affine(f.weights,f.bias,x.f),affine(q.weights,q.bias,x.fq),{}};
   auto sum=[](Box a,const Box&b){for(std::size_t k=0;k<a.low.size();++k){a.low[k]+=b.low[k];a.high[k]+=b.high[k];}return a;};
   auto d1=sum(affine(f.weights,c.bias,x.difference),affine(c.weights,z,x.fq)); auto d2=sum(affine(q.weights,c.bias,x.difference),affine(c.weights,z,x.f));
   Box d3=o.fq; for(std::size_t k=0;k<z.size();++k){d3.low[k]-=o.f.high[k];d3.high[k]-=o.f.low[k];}
   o.difference=joint?intersection(intersection(d1,d2),d3):d3; B.nodes[i]=o; }
  else if(std::holds_alternative<network::Activation>(n.op)){ PairBox o=x; auto r=[](double v){return std::max(v,0.0);};
   for(std::size_t k=0;k<x.f.low.size();++k){ double l=x.f.low[k],u=x.f.high[k],l2=x.fq.low[k],u2=x.fq.high[k],dl=x.difference.low[k],du=x.difference.high[k];
    o.f.low[k]=r(l);o.f.high[k]=r(u);o.fq.low[k]=r(l2);o.fq.high[k]=r(u2);
    double U=std::min(r(u2)-r(l),std::max(du,0.0)),L=std::max(r(l2)-r(u),std::min(dl,0.0)); if(u<=0&&u2<=0)U=L=0; o.difference.low[k]=L;o.difference.high[k]=U;}
   B.nodes[i]=o;}
  else B.nodes[i]=x; }
 return B; }
}
PairBounds difference_interval(const Pair&p,const Box&in){return go(p,in,true);}
PairBounds separate_intervals(const Pair&p,const Box&in){return go(p,in,false);}
}
